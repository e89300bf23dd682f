{{/* The environment of each part. A part gets the secrets that it needs, each from its Secret, and no
other; what is no secret stands in the pod, so that a change of it rolls the pods. */}}

{{/* A variable from `secret`, which is {value, existingSecret, key}: from the Secret that it names, else
from the `shared` one, else from `own`, where what was given as a value is written. */}}
{{- define "rei.secretVariable" -}}
{{- $existing := .secret.existingSecret | default (ternary "" .shared (not (empty .secret.value))) -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $existing | default .own }}
      key: {{ ternary .secret.key .variable (not (empty $existing)) }}
{{- end -}}

{{/* Credentials of `root`, by their `names` in the values; those given as values are in `own`. */}}
{{- define "rei.credentials" -}}
{{- $own := .own | default (printf "%s-credentials" (include "rei.fullname" .root)) -}}
{{- range $name := .names }}
{{ include "rei.secretVariable" (dict "own" $own "shared" $.root.Values.credentials.existingSecret "variable" (include "rei.variableOf" $name) "secret" (index $.root.Values.credentials $name)) }}
{{- end }}
{{- end -}}

{{- define "rei.variableOf" -}}
{{- index (dict "botToken" "BOT_TOKEN" "yookassaShopId" "YOOKASSA_SHOP_ID" "yookassaSecretKey" "YOOKASSA_SECRET_KEY" "geminiApiKey" "GEMINI_API_KEY") . -}}
{{- end -}}

{{/* Ours unless told otherwise, even where credentials.existingSecret names a Secret: it is the one
credential that nobody has to obtain. */}}
{{- define "rei.variable.webhookSecret" -}}
{{- $secret := .Values.credentials.webhookSecret -}}
- name: REI_WEBHOOK_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ $secret.existingSecret | default (printf "%s-webhook" (include "rei.fullname" .)) }}
      key: {{ ternary $secret.key "REI_WEBHOOK_SECRET" (not (empty $secret.existingSecret)) }}
{{- end -}}

{{/* Where the database's address is: the Secret and its key. */}}
{{- define "rei.databaseSecret" -}}
{{- $external := .Values.database.external.url -}}
{{- if eq .Values.database.mode "cloudnativepg" -}}
name: {{ include "rei.fullname" . }}-database-app
key: uri
{{- else if and (eq .Values.database.mode "external") $external.existingSecret -}}
name: {{ $external.existingSecret }}
key: {{ $external.key }}
{{- else -}}
name: {{ include "rei.fullname" . }}-database
key: REI_DATABASE_URL
{{- end -}}
{{- end -}}

{{- define "rei.variable.database" -}}
- name: REI_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- include "rei.databaseSecret" . | nindent 6 }}
{{- end -}}

{{- define "rei.variable.redis" -}}
{{- $url := ternary .Values.redis.external.url (dict "existingSecret" "" "value" "ours" "key" "") (eq .Values.redis.mode "external") -}}
{{ include "rei.secretVariable" (dict "own" (printf "%s-redis" (include "rei.fullname" .)) "shared" "" "variable" "REI_REDIS_URL" "secret" $url) }}
{{- end -}}

{{/* `more` are the chart's own and win, then the settings of the part, then those of all processes. */}}
{{- define "rei.settings" -}}
{{- $all := merge (deepCopy .more) (index .root.Values .part).settings .root.Values.settings -}}
{{- range $name := keys $all | sortAlpha }}
- name: {{ $name }}
  value: {{ index $all $name | toString | quote }}
{{- end }}
{{- end -}}

{{/* Rolls the pods when a Secret or the catalogue of the chart changes. */}}
{{- define "rei.checksums" -}}
rei.bot/settings: {{ toJson (list .Values.credentials .Values.catalog .Values.database.external .Values.redis.external) | sha256sum | trunc 16 }}
{{- end -}}
