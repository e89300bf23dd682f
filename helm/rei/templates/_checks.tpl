{{/* What no schema can say: values that do not go together, and what the cluster lacks. */}}
{{- define "rei.checks" -}}
{{- $values := .Values -}}
{{- range $name, $secret := dict "botToken" $values.credentials.botToken "yookassaShopId" $values.credentials.yookassaShopId "yookassaSecretKey" $values.credentials.yookassaSecretKey "geminiApiKey" $values.credentials.geminiApiKey -}}
{{- if not (or $secret.value $secret.existingSecret $values.credentials.existingSecret) -}}
{{- fail (printf "\n\ncredentials.%s is missing. Make a Secret with BOT_TOKEN, YOOKASSA_SHOP_ID, YOOKASSA_SECRET_KEY and GEMINI_API_KEY, and name it:\n\n    kubectl -n %s create secret generic rei-credentials --from-literal=BOT_TOKEN=… …\n    --set credentials.existingSecret=rei-credentials\n" $name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- /* Not left to the schema, whose errors show the value. */ -}}
{{- range $path, $is := dict "credentials.botToken" (list $values.credentials.botToken.value "^[0-9]+:[A-Za-z0-9_-]+$" "two parts with a colon between them, as @BotFather shows it") "credentials.webhookSecret" (list $values.credentials.webhookSecret.value "^[A-Za-z0-9_-]{1,256}$" "1 to 256 characters of A-Z, a-z, 0-9, _ and -") "database.external.url" (list $values.database.external.url.value "^postgres(ql)?://" "an address such as postgresql://user:password@host:5432/rei") "redis.external.url" (list $values.redis.external.url.value "^rediss?://" "an address such as redis://:password@host:6379/0") -}}
{{- if and (index $is 0) (not (regexMatch (index $is 1) (index $is 0))) -}}
{{- fail (printf "\n\n%s.value has to be %s.\n" $path (index $is 2)) -}}
{{- end -}}
{{- end -}}
{{- range $path, $settings := dict "settings" $values.settings "bot.settings" $values.bot.settings "worker.settings" $values.worker.settings "operator.settings" $values.operator.settings -}}
{{- range $variable := list "REI_DATABASE_URL" "REI_REDIS_URL" "REI_WEBHOOK_SECRET" "YOOKASSA_SHOP_ID" "YOOKASSA_SECRET_KEY" "GEMINI_API_KEY" -}}
{{- if hasKey $settings $variable -}}
{{- fail (printf "\n\n%s.%s is a secret, and would stand in the pods for all to read: it belongs into credentials, database.external.url or redis.external.url.\n" $path $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.bot.mode "webhook") (not $values.bot.publicUrl) -}}
{{- fail "\n\nbot.publicUrl is missing: in webhook mode Telegram has to reach the bot. Set it to https://bot.example.com, or bot.mode=polling where nobody can reach it.\n" -}}
{{- end -}}
{{- if and (or $values.bot.ingress.enabled $values.bot.httpRoute.enabled) (not $values.bot.publicUrl) -}}
{{- fail "\n\nbot.publicUrl is missing: its host is that of the Ingress or HTTPRoute.\n" -}}
{{- end -}}
{{- if and $values.bot.httpRoute.enabled (not $values.bot.httpRoute.parentRefs) -}}
{{- fail "\n\nbot.httpRoute.parentRefs is empty: name the Gateway, such as [{name: gateway, namespace: gateways}].\n" -}}
{{- end -}}
{{- range $part := list "database" "redis" -}}
{{- $one := index $values $part -}}
{{- if and (eq $one.mode "external") (not (or $one.external.url.value $one.external.url.existingSecret)) -}}
{{- fail (printf "\n\n%s.external.url is missing: name a Secret of yours in %s.external.url.existingSecret, with the address under the key %s.\n" $part $part $one.external.url.key) -}}
{{- end -}}
{{- end -}}
{{- range $part := list "worker" "bot" -}}
{{- $bounds := index $values.autoscaling $part -}}
{{- if gt (int $bounds.min) (int $bounds.max) -}}
{{- fail (printf "\n\nautoscaling.%s: min (%d) is more than max (%d).\n" $part (int $bounds.min) (int $bounds.max)) -}}
{{- end -}}
{{- end -}}
{{- if eq $values.autoscaling.mode "keda" -}}
{{- if not $values.autoscaling.prometheus.address -}}
{{- fail "\n\nautoscaling.prometheus.address is missing: KEDA asks Prometheus how much work waits. Set it, such as http://prometheus.monitoring:9090, or autoscaling.mode=fixed for a fixed number of pods.\n" -}}
{{- end -}}
{{- include "rei.needsKind" (dict "root" . "kind" "keda.sh/v1alpha1/ScaledObject" "of" "KEDA" "else" "autoscaling.mode=hpa or fixed") -}}
{{- end -}}
{{- if eq $values.database.mode "cloudnativepg" -}}
{{- include "rei.needsKind" (dict "root" . "kind" "postgresql.cnpg.io/v1/Cluster" "of" "CloudNativePG" "else" "database.mode=internal or external") -}}
{{- end -}}
{{- if $values.bot.httpRoute.enabled -}}
{{- include "rei.needsKind" (dict "root" . "kind" "gateway.networking.k8s.io/v1/HTTPRoute" "of" "the Gateway API" "else" "bot.ingress.enabled=true") -}}
{{- end -}}
{{- if $values.monitoring.prometheusRule.enabled -}}
{{- include "rei.needsKind" (dict "root" . "kind" "monitoring.coreos.com/v1/PrometheusRule" "of" "the Prometheus operator" "else" "monitoring.alertsConfigMap.enabled=true") -}}
{{- end -}}
{{- if $values.monitoring.alertmanagerConfig.enabled -}}
{{- include "rei.needsKind" (dict "root" . "kind" "monitoring.coreos.com/v1alpha1/AlertmanagerConfig" "of" "the Prometheus operator" "else" "monitoring.alertsConfigMap.enabled=true") -}}
{{- if not (and $values.monitoring.telegram.chatId $values.monitoring.telegram.botToken.existingSecret) -}}
{{- fail "\n\nmonitoring.telegram: chatId and botToken.existingSecret are needed: which group is told of alerts, and by which bot. Make a Secret with its token, in this namespace, and name it.\n" -}}
{{- end -}}
{{- end -}}
{{- if $values.metrics.podMonitor.enabled -}}
{{- include "rei.needsKind" (dict "root" . "kind" "monitoring.coreos.com/v1/PodMonitor" "of" "the Prometheus operator" "else" "metrics.podMonitor.enabled=false") -}}
{{- end -}}
{{- end -}}

{{- define "rei.needsKind" -}}
{{- if not (.root.Capabilities.APIVersions.Has .kind) -}}
{{- fail (printf "\n\n%s is not installed in this cluster (no %s). Install it first, or set %s. (helm template knows no cluster: --api-versions %s)\n" .of .kind .else .kind) -}}
{{- end -}}
{{- end -}}
