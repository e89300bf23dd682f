{{/* A Job of the release's life: one try, gone when it went well. When not, helm prints its log, and it stays for a day. */}}
{{- define "rei.hookMetadata" -}}
{{- include "rei.metadata" (dict "root" .root "part" "release" "name" .name) }}
annotations:
  helm.sh/hook: {{ .hook }}
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: {{ .deleted | default "before-hook-creation,hook-succeeded" }}
  helm.sh/hook-output-log-policy: hook-failed
{{- end -}}

{{/* `container` is what is its own; `account` a ServiceAccount whose token it needs. */}}
{{- define "rei.hookJob" -}}
{{- $of := dict "root" .root "part" "release" "name" .name -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "rei.hookMetadata" . | nindent 2 }}
spec:
  backoffLimit: {{ .retries | default 0 }}
  activeDeadlineSeconds: {{ .seconds }}
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "rei.labels" $of | nindent 8 }}
    spec:
      restartPolicy: Never
      {{- with .account }}
      serviceAccountName: {{ . }}
      {{- end }}
      automountServiceAccountToken: {{ not (empty .account) }}
      enableServiceLinks: false
      securityContext:
        {{- include "rei.podSecurity" .root | nindent 8 }}
      {{- include "rei.placement" (dict "root" .root "part" "operator") | nindent 6 }}
      {{- with .before }}
      initContainers:
      - {{- include "rei.hookContainer" (dict "root" $.root "name" "before" "own" .) | nindent 8 }}
      {{- end }}
      containers:
      - {{- include "rei.hookContainer" (dict "root" .root "name" "rei" "own" .container) | nindent 8 }}
      volumes:
      - name: tmp
        emptyDir:
          sizeLimit: 64Mi
      {{- with .manifests }}
      - name: manifests
        configMap:
          name: {{ . }}
      {{- end }}
{{- end -}}

{{- define "rei.hookContainer" -}}
name: {{ .name }}
image: {{ include "rei.image" (dict "root" .root "part" "operator") }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{ .own | trim }}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  requests: {cpu: 50m, memory: 96Mi}
  limits: {memory: 384Mi}
securityContext:
  {{- include "rei.containerSecurity" . | nindent 2 }}
volumeMounts:
- name: tmp
  mountPath: /tmp
{{- if contains "/manifests/" .own }}
- name: manifests
  mountPath: /manifests
  readOnly: true
{{- end }}
{{- end -}}
