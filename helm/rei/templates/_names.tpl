{{/* Names and labels. A release called "rei" has rei-bot; one called "shop" has shop-rei-bot. */}}

{{- define "rei.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "rei" $name) -}}{{- $name = printf "%s-rei" $name -}}{{- end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rei.selector" -}}
app.kubernetes.io/name: rei
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "rei.labels" -}}
{{ include "rei.selector" . }}
app.kubernetes.io/part-of: rei
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "rei.metadata" -}}
name: {{ include "rei.fullname" .root }}-{{ .name | default .part }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "rei.labels" . | nindent 2 }}
{{- end -}}

{{/* The labels by which Prometheus tells this release from others. */}}
{{- define "rei.seriesSelector" -}}
{{- .Values.autoscaling.prometheus.selector | default (printf "namespace=%q" .Release.Namespace) -}}
{{- end -}}

{{/* The image of a part: registry/repository, by digest if there is one, else by tag. */}}
{{- define "rei.image" -}}
{{- $image := (index .root.Values .part).image -}}
{{- $name := $image.repository -}}
{{- with .root.Values.image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
