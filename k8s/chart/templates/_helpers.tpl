{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "weir.fullname" -}}
{{- $name := include "weir.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects the pods: never changed, for a workload's selector cannot be. Pods have these labels and no version: by all of
their labels replicas know each other, in the middle of an upgrade, too. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "weir.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
{{ include "weir.commonLabels" . }}
{{- end }}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "weir.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "weir.image" -}}
{{- with .Values.controller.image }}
{{- if .repository }}{{ .repository }}{{ else }}{{ with .registry }}{{ . }}/{{ end }}{{ .image }}{{ end -}}
:{{ default $.Chart.AppVersion .tag }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- define "weir.args" -}}
- ingress
- --configmap=$(POD_NAMESPACE)/{{ include "weir.fullname" . }}
- --ingress-class={{ .Values.controller.ingressClass }}
- --controller-class={{ .Values.controller.ingressClassResource.controllerValue }}
{{- if ne .Values.controller.electionID "ingress-controller-leader" }}
- --election-id={{ .Values.controller.electionID }}
{{- end }}
{{- if .Values.controller.publishService.enabled }}
{{- if .Values.controller.publishService.pathOverride }}
- --publish-service={{ .Values.controller.publishService.pathOverride }}
{{- else if .Values.controller.service.enabled }}
- --publish-service=$(POD_NAMESPACE)/{{ include "weir.fullname" . }}
{{- end }}
{{- end }}
{{- if .Values.controller.scope.enabled }}
- --watch-namespace={{ default "$(POD_NAMESPACE)" .Values.controller.scope.namespace }}
{{- else if .Values.controller.scope.namespaceSelector }}
- {{ printf "--watch-namespace-selector=%s" .Values.controller.scope.namespaceSelector | quote }}
{{- end }}
{{- if ne (int .Values.controller.metrics.port) 10254 }}
- --healthz-port={{ .Values.controller.metrics.port }}
{{- end }}
{{- if .Values.tcp }}
- --tcp-services-configmap=$(POD_NAMESPACE)/{{ include "weir.fullname" . }}-tcp
{{- end }}
{{- if .Values.udp }}
- --udp-services-configmap=$(POD_NAMESPACE)/{{ include "weir.fullname" . }}-udp
{{- end }}
{{- range .Values.controller.acmeIssuers }}
- {{ printf "--acme-issuer=%s" . | quote }}
{{- end }}
{{- if .Values.controller.admissionWebhooks.enabled }}
- "--validating-webhook=:{{ .Values.controller.admissionWebhooks.port }}"
- --validating-webhook-configuration={{ include "weir.fullname" . }}
{{- end }}
{{- range $name, $value := .Values.controller.extraArgs }}
{{- if eq (toString $value) "" }}
- --{{ $name }}
{{- else }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* One pod beside the old one, unless both would want the same port of the node. */}}
{{- define "weir.strategy" -}}
{{- if .Values.controller.updateStrategy }}
{{- toYaml .Values.controller.updateStrategy }}
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: {{ ternary 0 1 .Values.controller.hostPort.enabled }}
  maxUnavailable: {{ ternary 1 0 .Values.controller.hostPort.enabled }}
{{- end }}
{{- end }}

{{/* The name of a port that is carried on: of the number, and how it is spoken with. */}}
{{- define "weir.portName" -}}
{{- with .root.Values.portNamePrefix }}{{ . }}-{{ end }}{{ .port }}-{{ .transport }}
{{- end }}
