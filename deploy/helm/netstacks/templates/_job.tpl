{{/* The template of a pod that runs one command once: a dict of `root`, `command`, and `backup` when it writes one. */}}
{{- define "netstacks.jobPod" -}}
{{- $root := .root -}}
metadata:
  labels: {{- include "netstacks.jobLabels" $root | nindent 4 }}
spec:
  restartPolicy: Never
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with $root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .command | last }}
      image: {{ include "netstacks.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{- toYaml .command | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      env:
        {{- include "netstacks.settingsEnv" $root | trim | nindent 8 }}
        {{- with .backup }}
        - name: BACKUP_FOLDER
          value: /backups
        - name: BACKUP_DAYS
          value: {{ .days | quote }}
        {{- with .rehearsalServer }}
        - name: REHEARSAL_SERVER
          valueFrom:
            secretKeyRef: {name: {{ .name }}, key: {{ .key | quote }}}
        {{- end }}
        {{- end }}
      resources:
        requests: {cpu: 100m, memory: 256Mi}
        limits: {memory: 1Gi}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: secrets
          mountPath: /run/secrets/netstacks
          readOnly: true
        {{- if .backup }}
        - name: backups
          mountPath: /backups
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- include "netstacks.secretsVolume" $root | nindent 4 }}
    {{- with .backup }}
    - name: backups
      persistentVolumeClaim:
        claimName: {{ .claimName }}
    {{- end }}
{{- end -}}
