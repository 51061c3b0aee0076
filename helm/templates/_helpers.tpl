{{/* Names, labels and what several templates compute alike. */}}

{{- define "penstock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 49 characters leave room for what is added: "-pods", "-generated", "-dashboards". */}}
{{- define "penstock.fullname" -}}
{{- $name := include "penstock.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 49 | trimSuffix "-" -}}
{{- end -}}

{{- define "penstock.serviceAccountName" -}}
{{- default (ternary (include "penstock.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "penstock.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest -}}{{ $i.repository }}@{{ $i.digest }}{{- else -}}{{ $i.repository }}:{{ default .Chart.AppVersion $i.tag }}{{- end -}}
{{- end -}}

{{/* Values of labels are quoted, since a release may be named 123. */}}
{{- define "penstock.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/name: {{ include "penstock.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What selects the gateway's pods and nothing else of the release. It must never change: a Deployment's selector cannot. */}}
{{- define "penstock.selectorLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* The same for the Redis for trials. */}}
{{- define "penstock.redisSelectorLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: redis
{{- end -}}

{{/* The same for the pod of `helm test`. */}}
{{- define "penstock.testSelectorLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/* "true" where pods share a Redis, else nothing. */}}
{{- define "penstock.shared" -}}
{{- with .Values.redis -}}{{- if or .url .urlSecret.existingSecret .trial.enabled -}}true{{- end -}}{{- end -}}
{{- end -}}

{{/* How long a pod may take to end, in seconds: all of its graces, and a margin. */}}
{{- define "penstock.terminationGrace" -}}
{{- with .Values.drain -}}{{- add .endpointGraceSeconds .drainGraceSeconds .stopTimeoutSeconds .marginSeconds -}}{{- end -}}
{{- end -}}

{{/* The families of addresses of each Service. */}}
{{- define "penstock.ipFamilies" -}}
{{- with .Values.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Names of the keys that the Secret of this chart's own making holds, as a JSON list; none where there is no such Secret. */}}
{{- define "penstock.generatedKeys" -}}
{{- $keys := list -}}
{{- if and (include "penstock.shared" .) (not .Values.podSecret.existingSecret) -}}{{- $keys = append $keys "pod-secret" -}}{{- end -}}
{{- if and .Values.redis.trial.enabled (not .Values.redis.password.existingSecret) -}}{{- $keys = append $keys "redis-password" -}}{{- end -}}
{{- toJson $keys -}}
{{- end -}}

{{/* Where probes ask. A release of before has no such value where its values are reused. */}}
{{- define "penstock.healthPort" -}}{{- default 8081 .Values.ports.health -}}{{- end -}}

{{/* HTTP or HTTPS, as probes write it. */}}
{{- define "penstock.scheme" -}}{{- ternary "HTTPS" "HTTP" (ne .Values.tls.existingSecret "") -}}{{- end -}}

{{/* What meshes and load balancers are told of the port of gRPC. With TLS they are not to look inside: "grpc" would promise them clear text. */}}
{{- define "penstock.grpcProtocol" -}}{{- ternary "https" "grpc" (ne .Values.tls.existingSecret "") -}}{{- end -}}

{{/*
The file of settings. As JSON, since YAML would write numbers from a million on as 1e+06: they come from values files as floats.
*/}}
{{- define "penstock.config" -}}
{{- $c := dict
  "grpc-addr" (printf ":%v" .Values.ports.grpc) "http-addr" (printf ":%v" .Values.ports.http)
  "health-addr" (printf ":%s" (include "penstock.healthPort" .)) "metrics-addr" (printf ":%v" .Values.ports.metrics)
  "endpoint-grace" (printf "%vs" .Values.drain.endpointGraceSeconds) "drain-grace" (printf "%vs" .Values.drain.drainGraceSeconds)
  "stop-timeout" (printf "%vs" .Values.drain.stopTimeoutSeconds)
-}}
{{- if .Values.insecure -}}{{- $_ := set $c "insecure" true -}}{{- end -}}
{{- with .Values.tls -}}
{{- if .existingSecret -}}
{{- $_ := set $c "tls-cert" (printf "/etc/penstock/tls/%s" .certKey) -}}
{{- $_ := set $c "tls-key" (printf "/etc/penstock/tls/%s" .keyKey) -}}
{{- if include "penstock.shared" $ -}}
{{- $_ := set $c "pod-server-name" (default (printf "%s.%s.svc" (include "penstock.fullname" $) $.Release.Namespace) .serverName) -}}
{{- if .caKey -}}{{- $_ := set $c "pod-ca" (printf "/etc/penstock/tls/%s" .caKey) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.tls.clientCA.existingSecret -}}{{- $_ := set $c "tls-client-ca" "/etc/penstock/client-ca/value" -}}{{- end -}}
{{- if .Values.auth.token.existingSecret -}}{{- $_ := set $c "auth-token-file" "/etc/penstock/auth-token/value" -}}{{- end -}}
{{- with .Values.auth.jwt -}}
{{- if .secret.existingSecret -}}{{- $_ := set $c "jwt-secret-file" "/etc/penstock/jwt-secret/value" -}}{{- end -}}
{{- if .jwks.url -}}{{- $_ := set $c "jwt-jwks" .jwks.url -}}
{{- else if .jwks.configMap -}}{{- $_ := set $c "jwt-jwks" "/etc/penstock/jwks/value" -}}{{- end -}}
{{- with .issuer -}}{{- $_ := set $c "jwt-issuer" . -}}{{- end -}}
{{- with .audience -}}{{- $_ := set $c "jwt-audience" . -}}{{- end -}}
{{- end -}}
{{- if include "penstock.shared" . -}}
{{- $_ := set $c "pod-secret-file" "/etc/penstock/pod-secret/value" -}}
{{- with .Values.probes.startup -}}{{- $_ := set $c "redis-wait" (printf "%ds" (min 600 (div (mul .periodSeconds .failureThreshold 3) 4))) -}}{{- end -}}
{{- with .Values.redis -}}
{{- if .trial.enabled -}}{{- $_ := set $c "redis-url" (printf "redis://%s-redis:6379" (include "penstock.fullname" $)) -}}
{{- else if .url -}}{{- $_ := set $c "redis-url" .url -}}{{- end -}}
{{- if or .trial.enabled .password.existingSecret -}}{{- $_ := set $c "redis-password-file" "/etc/penstock/redis-password/value" -}}{{- end -}}
{{- if .ca.existingSecret -}}{{- $_ := set $c "redis-tls-ca" "/etc/penstock/redis-ca/value" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne .Values.udp.mode "egress" -}}
{{- $_ := set $c "ice-udp-mux" .Values.udp.port -}}
{{- $_ := set $c "ice-udp-mux-ports" .Values.udp.ports -}}
{{- end -}}
{{- with .Values.udp.announcedIPs -}}{{- $_ := set $c "ice-announced-ips" . -}}{{- end -}}
{{- range $name, $value := merge $c .Values.config }}
{{ $name }}: {{ toJson $value }}
{{- end }}
{{- end -}}

{{/* Secrets that are mounted one key each: a dictionary from the directory below /etc/penstock to where it comes from. */}}
{{- define "penstock.secretFiles" -}}
{{- $files := dict -}}
{{- range $name, $from := dict "auth-token" .Values.auth.token "jwt-secret" .Values.auth.jwt.secret "client-ca" .Values.tls.clientCA -}}
{{- if $from.existingSecret -}}{{- $_ := set $files $name (dict "secret" $from.existingSecret "key" $from.key) -}}{{- end -}}
{{- end -}}
{{- if include "penstock.shared" . -}}
{{- $generated := printf "%s-generated" (include "penstock.fullname" .) -}}
{{- with .Values.podSecret -}}
{{- $_ := set $files "pod-secret" (ternary (dict "secret" .existingSecret "key" .key) (dict "secret" $generated "key" "pod-secret") (ne .existingSecret "")) -}}
{{- end -}}
{{- with .Values.redis -}}
{{- if .password.existingSecret -}}{{- $_ := set $files "redis-password" (dict "secret" .password.existingSecret "key" .password.key) -}}
{{- else if .trial.enabled -}}{{- $_ := set $files "redis-password" (dict "secret" $generated "key" "redis-password") -}}{{- end -}}
{{- if .ca.existingSecret -}}{{- $_ := set $files "redis-ca" (dict "secret" .ca.existingSecret "key" .ca.key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.settingsFromSecrets -}}
{{- if eq .as "file" -}}{{- $_ := set $files (printf "setting-%s" .setting) (dict "secret" .secretName "key" .key) -}}{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/* What the chart sets in the environment, but for the pod's address: a list of variables. */}}
{{- define "penstock.ownEnv" -}}
- name: PENSTOCK_CONFIG
  value: /etc/penstock/config/gateway.yaml
{{- with include "penstock.goMemory" . }}
- name: GOMEMLIMIT
  value: {{ . | quote }}
{{- end }}
{{- if include "penstock.shared" . }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- with .Values.redis.urlSecret }}
{{- if .existingSecret }}
- name: PENSTOCK_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.udp }}
{{- if and (not .announcedIPs) (or (eq .mode "hostPort") (and (eq .mode "service") (eq .service.type "NodePort"))) }}
- name: PENSTOCK_ICE_ANNOUNCED_IPS
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- end }}
{{- end }}
{{- range .Values.settingsFromSecrets }}
- name: {{ include "penstock.variable" .setting }}
  {{- if eq .as "file" }}
  value: /etc/penstock/setting-{{ .setting }}/value
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .secretName | quote }}
      key: {{ .key | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The variable of a setting. */}}
{{- define "penstock.variable" -}}PENSTOCK_{{ . | replace "-" "_" | upper }}{{- end -}}

{{/*
The environment of the gateway's container. What extraEnv names takes the place of what the chart would set: a name that is there twice is lost by
patches, which merge by name. The pod's address is last, since a variable refers only to those before it.
*/}}
{{- define "penstock.env" -}}
{{- $all := list -}}
{{- $theirs := dict -}}
{{- range .Values.extraEnv -}}{{- $_ := set $theirs .name true -}}{{- end -}}
{{- range include "penstock.ownEnv" . | fromYamlArray -}}
{{- if not (hasKey $theirs .name) -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- $all = concat $all (.Values.extraEnv | default list) -}}
{{- if and (include "penstock.shared" .) (not (hasKey $theirs "PENSTOCK_POD_ADDR")) -}}
{{- $all = append $all (dict "name" "PENSTOCK_POD_ADDR" "value" (printf "[$(POD_IP)]:%v" .Values.ports.grpc)) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* The port in a URL, or the one that is meant without. Takes a list of the two. */}}
{{- define "penstock.portOf" -}}
{{- regexFind ":[0-9]+$" (urlParse (index . 0)).host | trimPrefix ":" | default (index . 1) -}}
{{- end -}}

{{/*
Ports of Redis, as a JSON list: those of the hosts in its URL, which may be several, and those that are told. The servers that sentinels name are
at the usual port unless it is told.
*/}}
{{- define "penstock.redisPorts" -}}
{{- $ports := list -}}
{{- $url := .Values.redis.url -}}
{{- if and $url (not (hasPrefix "unix:" $url)) -}}
{{- $sentinel := regexMatch "^rediss?-sentinel:" $url -}}
{{- range regexReplaceAll "^[a-z-]+://([^/?]*).*$" $url "${1}" | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "26379" "6379" $sentinel) | int) -}}
{{- end -}}
{{- if $sentinel -}}{{- $ports = append $ports 6379 -}}{{- end -}}
{{- end -}}
{{- range .Values.networkPolicy.redisPorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- if and (not $ports) (not $url) -}}{{- $ports = list 6379 -}}{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/*
The soft limit of the Go runtime's memory, in bytes: three quarters of the container's limit, since codecs allocate beside it. Nothing where there is no limit.
*/}}
{{- define "penstock.goMemory" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- $units := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $unit := regexFind "[kKMGT]i?$" $limit -}}
{{- if and (ne $limit "") (hasKey $units $unit) -}}
{{- trimSuffix $unit $limit | float64 | mulf (index $units $unit) 0.75 | printf "%.0f" -}}
{{- end -}}
{{- end -}}

{{/* "true" where callers must show who they are, else nothing. */}}
{{- define "penstock.authenticated" -}}
{{- with .Values -}}
{{- if or .auth.token.existingSecret .auth.jwt.secret.existingSecret .auth.jwt.jwks.url .auth.jwt.jwks.configMap .tls.clientCA.existingSecret -}}true{{- end -}}
{{- end -}}
{{- end -}}
