{{/* The name of all objects. INSTANCE_ID, a pod's name, has at most 40 characters. */}}
{{- define "netstacks.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 36 | trimSuffix "-" -}}
{{- end -}}

{{- define "netstacks.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "netstacks.labels" -}}
{{ include "netstacks.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "netstacks.adminSelectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-admin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "netstacks.adminLabels" -}}
{{ include "netstacks.adminSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "netstacks.jobSelectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-job
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "netstacks.jobLabels" -}}
{{ include "netstacks.jobSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "netstacks.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A setting's value as its variable has it: lists with commas, and no number as 1.073741824e+09. */}}
{{- define "netstacks.value" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}

{{/* The seconds of the preStop hook: until then load balancers have noticed that the pod is leaving. */}}
{{- define "netstacks.preStopSecs" -}}5{{- end -}}

{{- define "netstacks.gracePeriodSecs" -}}
{{- add (include "netstacks.preStopSecs" .) (ceil .Values.settings.DRAIN_TIMEOUT_SECS) 10 -}}
{{- end -}}

{{/* "true" when several pods may run. */}}
{{- define "netstacks.isClustered" -}}
{{- if or .Values.secrets.VALKEY_URL .Values.secrets.VALKEY_SENTINEL_URL -}}true{{- end -}}
{{- end -}}

{{/* What values.schema.json cannot say in a sentence. */}}
{{- define "netstacks.validate" -}}
{{- with .Values -}}
{{- $most := ternary .autoscaling.maxReplicas .replicaCount .autoscaling.enabled | int -}}
{{- if and (gt $most 1) (not (include "netstacks.isClustered" $)) -}}
{{- fail (printf "\n\n%d replicas need Valkey, which they find each other with: set secrets.VALKEY_URL or secrets.VALKEY_SENTINEL_URL, or replicaCount=1 without autoscaling." $most) -}}
{{- end -}}
{{- if and .autoscaling.enabled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) -}}
{{- fail "\n\nautoscaling.minReplicas must not be above autoscaling.maxReplicas." -}}
{{- end -}}
{{- if and .backup.enabled (not .backup.claimName) -}}
{{- fail "\n\nbackup needs backup.claimName, an existing PersistentVolumeClaim." -}}
{{- end -}}
{{- if and .serviceMonitor.enabled (not .secrets.METRICS_TOKEN) -}}
{{- fail "\n\nserviceMonitor needs secrets.METRICS_TOKEN: without a token the controller has no /metrics." -}}
{{- end -}}
{{- end -}}
{{- end -}}
