{{- /* What the objects of a revision are called. */ -}}
{{- define "heddle.suffix" -}}
{{- range list .Values.revision .Values.tag }}
{{- if and . (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" .)) }}
{{- fail (printf "%q is no name of a revision or a tag: it has to be of at most 40 small letters, digits and dashes" .) }}
{{- end }}
{{- end }}
{{- with .Values.revision }}
{{- if eq . "default" }}{{ fail "the default revision is the one without a name" }}{{ end }}-{{ . }}
{{- end }}
{{- end }}

{{- define "heddle.name" -}}
heddled{{ include "heddle.suffix" . }}
{{- end }}

{{- define "heddle.labels" -}}
app: {{ include "heddle.name" . }}
app.kubernetes.io/name: heddled
app.kubernetes.io/part-of: heddle
app.kubernetes.io/version: {{ .Chart.AppVersion | default .Chart.Version | quote }}
{{- end }}

{{- define "heddle.image" -}}
{{ .Values.image.registry }}/heddled:{{ .Values.image.tag | default .Chart.AppVersion | default .Chart.Version }}
{{- end }}

{{- define "heddle.proxyImage" -}}
{{ .Values.proxy.image | default (printf "%s/heddle-proxy:%s" .Values.image.registry (.Values.image.tag | default .Chart.AppVersion | default .Chart.Version)) }}
{{- end }}

{{- /* The settings of the mesh: what the values say, under what meshConfig says. */ -}}
{{- define "heddle.mesh" -}}
{{- $mesh := dict
  "trustDomain" .Values.trustDomain
  "rootNamespace" .Release.Namespace
  "outboundTrafficPolicy" (dict "mode" .Values.outboundTrafficPolicy)
  "accessLogEncoding" .Values.accessLog.encoding
  "enablePrometheusMerge" true }}
{{- if .Values.trustDomainAliases }}{{ $_ := set $mesh "trustDomainAliases" .Values.trustDomainAliases }}{{ end }}
{{- if .Values.accessLog.enabled }}{{ $_ := set $mesh "accessLogFile" "/dev/stdout" }}{{ end }}
{{- if .Values.accessLog.format }}{{ $_ := set $mesh "accessLogFormat" .Values.accessLog.format }}{{ end }}
{{- if .Values.tracing.endpoint }}
{{- $at := splitList ":" .Values.tracing.endpoint }}
{{- if ne (len $at) 2 }}{{ fail (printf "tracing.endpoint %q is not host:port" .Values.tracing.endpoint) }}{{ end }}
{{- $_ := set $mesh "enableTracing" true }}
{{- $_ := set $mesh "defaultConfig" (dict "tracing" (dict "sampling" .Values.tracing.sampling)) }}
{{- $_ := set $mesh "defaultProviders" (dict "tracing" (list "otel")) }}
{{- $_ := set $mesh "extensionProviders" (list (dict "name" "otel" "opentelemetry" (dict "service" (first $at) "port" (last $at | int)))) }}
{{- end }}
{{- toYaml (mergeOverwrite $mesh (deepCopy .Values.meshConfig)) }}
{{- end }}
