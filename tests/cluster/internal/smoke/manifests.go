package smoke

// common is what the checks need once, perNode what they need on each node.
const common = `apiVersion: v1
kind: Namespace
metadata: {name: cluster-smoke}
---
apiVersion: v1
kind: Service
metadata: {name: balanced, namespace: cluster-smoke}
spec:
  type: LoadBalancer
  selector: {app: smoke}
  ports: [{port: 80, targetPort: 8080}]
---
`

const perNode = `apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: cluster-smoke
  labels: {app: smoke, on: %s}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: %s}
  tolerations: [{operator: Exists}]
  containers:
  - name: toolbox
    image: heddle.local/toolbox:1
    args: [http-server, -name, smoke]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: only-%s, namespace: cluster-smoke}
spec:
  selector: {on: %s}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: local-%s, namespace: cluster-smoke}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {on: %s}
  ports: [{port: 80, targetPort: 8080}]
---
`
