{{- /* What the objects of the control plane's revision end with. */ -}}
{{- define "gateway.suffix" -}}
{{- if not (has .Values.revision (list "" "default")) }}-{{ .Values.revision }}{{ end }}
{{- end }}

{{- define "gateway.selector" -}}
heddle.dev/gateway: {{ .Release.Name }}
{{- end }}

{{- /* Labels of the pods: ours, the "istio" label if asked for, the user's. */ -}}
{{- define "gateway.labels" -}}
{{- $labels := dict "app" .Release.Name "heddle.dev/gateway" .Release.Name "app.kubernetes.io/name" .Release.Name "app.kubernetes.io/part-of" "heddle" }}
{{- with .Values.istio }}{{ $_ := set $labels "istio" . }}{{ end }}
{{- toYaml (mergeOverwrite $labels (deepCopy .Values.labels) (dict "heddle.dev/gateway" .Release.Name)) }}
{{- end }}

{{- /* Fails when another release carries the well-known label already. */ -}}
{{- define "gateway.unique" -}}
{{- $istio := .Values.istio | default (get .Values.labels "istio") }}
{{- if and .Values.istio (not (has .Values.istio (list "ingressgateway" "egressgateway"))) }}
{{- fail (printf "istio: %q is neither ingressgateway nor egressgateway" .Values.istio) }}
{{- end }}
{{- if has $istio (list "ingressgateway" "egressgateway") }}
{{- range get (lookup "apps/v1" "Deployment" "" "") "items" | default list }}
{{- $same := and (eq .metadata.name $.Release.Name) (eq .metadata.namespace $.Release.Namespace) }}
{{- if and (not $same) (eq (dig "spec" "template" "metadata" "labels" "istio" "" .) $istio) }}
{{- fail (printf "deployment %s/%s already carries istio: %s" .metadata.namespace .metadata.name $istio) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
