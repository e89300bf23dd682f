{{/* What all pods have in common: the restricted Pod Security Standard, and room to write. */}}

{{- define "rei.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user | default 10001 }}
runAsGroup: {{ .user | default 10001 }}
{{- with .fsGroup }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "rei.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "rei.podAnnotations" -}}
{{ include "rei.checksums" .root }}
{{- if and .port .root.Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- with .annotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where a part's pods run; they stay off each other's nodes and zones where that can be had. */}}
{{- define "rei.placement" -}}
{{- $part := index .root.Values .part -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with $part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .spread }}
topologySpreadConstraints:
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "rei.selector" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}

{{/* Brings the schema to this version before a part starts. Whoever comes first does it, under a lock;
an upgrade has done it already, and a pod of an older version leaves a newer schema alone. */}}
{{- define "rei.migrateContainer" -}}
- name: migrate
  image: {{ include "rei.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [rei, migrate, --wait, "300"]
  env:
  {{- include "rei.variable.database" .root | nindent 2 }}
  resources:
    requests: {cpu: 50m, memory: 96Mi}
    limits: {memory: 256Mi}
  securityContext:
    {{- include "rei.containerSecurity" . | nindent 4 }}
  volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{/* Levels that change at run time. The ConfigMap is not the release's and need not be there: so no
upgrade undoes what somebody on call has set. */}}
{{- define "rei.logLevels" -}}
- name: log-levels
  configMap:
    name: {{ include "rei.fullname" . }}-log-levels
    optional: true
{{- end -}}

{{- define "rei.logLevelsMount" -}}
- name: log-levels
  mountPath: /etc/rei-log-levels
  readOnly: true
{{- end -}}

{{/* What bot and worker have in common: the catalogue, where it is given, levels, room to write. */}}
{{- define "rei.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if .Values.catalog }}
- name: catalog
  configMap:
    name: {{ include "rei.fullname" . }}-catalog
{{- end }}
{{ include "rei.logLevels" . }}
{{- end -}}

{{- define "rei.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.catalog }}
- name: catalog
  mountPath: /etc/rei
  readOnly: true
{{- end }}
{{ include "rei.logLevelsMount" . }}
{{- end -}}

{{/* Does its loop turn (live), does it get work (ready)? A database that is away restarts nobody. */}}
{{- define "rei.probes" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: status
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: status
  periodSeconds: 5
  timeoutSeconds: 5
startupProbe:
  httpGet:
    path: /healthz
    port: status
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
{{- end -}}
