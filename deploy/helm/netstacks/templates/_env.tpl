{{/* The container's environment: what the chart decides, the settings, then the files of the secrets. */}}
{{- define "netstacks.env" -}}
- name: PORT
  value: "8080"
- name: INSTANCE_ID
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: SPOOL_DIR
  value: /var/lib/netstacks/spool
{{- if include "netstacks.isClustered" . }}
- name: HA_PEER_PORT
  value: "9000"
- name: HA_ADVERTISE_HOST
  {{- if .Values.peerTls.secretName }}
  # The name in the certificate.
  value: $(INSTANCE_ID).{{ include "netstacks.fullname" . }}-peers.{{ .Release.Namespace }}.svc
  {{- else }}
  valueFrom:
    fieldRef: {fieldPath: status.podIP}
  {{- end }}
{{- end }}
{{- if .Values.peerTls.secretName }}
- name: HA_PEER_TLS_CERT
  value: /run/secrets/peer-tls/tls.crt
- name: HA_PEER_TLS_KEY
  value: /run/secrets/peer-tls/tls.key
- name: HA_PEER_TLS_CA
  value: /run/secrets/peer-tls/ca.crt
{{- end }}
{{ include "netstacks.settingsEnv" . | trim }}
{{- end -}}

{{/* The settings and the files of the secrets: what commands need. */}}
{{- define "netstacks.settingsEnv" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "netstacks.value" $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $source := .Values.secrets }}
{{- if $source }}
- name: {{ ternary $name (printf "%s_FILE" $name) (hasSuffix "_FILE" $name) }}
  value: /run/secrets/netstacks/{{ $name }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The volume in which the secrets are files. */}}
{{- define "netstacks.secretsVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $source := .Values.secrets }}
      {{- if $source }}
      - secret:
          name: {{ $source.name }}
          items:
            - {key: {{ $source.key | quote }}, path: {{ $name }}}
      {{- end }}
      {{- end }}
{{- end -}}
