package plan

import "path/filepath"

// Layout says where in the state folder everything lies.
type Layout struct{ Root string }

// Binary is the path of a program that the cluster runs.
func (l Layout) Binary(name string) string { return filepath.Join(l.Root, "bin", name) }

// Kubernetes is the binary of all Kubernetes programs.
func (l Layout) Kubernetes() string { return l.Binary("heddle-k8s") }

// Self is a copy of the program that manages the cluster.
func (l Layout) Self() string { return l.Binary("heddle-cluster") }

// Kubeconfig is the administrator's, for whoever uses the cluster.
func (l Layout) Kubeconfig() string { return filepath.Join(l.Root, "kubeconfig") }

// PKI is a file among keys and certificates.
func (l Layout) PKI(file string) string { return filepath.Join(l.Root, "pki", file) }

// Identity is a kubeconfig of one of the cluster's own programs.
func (l Layout) Identity(name string) string { return l.PKI(name + ".kubeconfig") }

// Spec is the description of a group, Process the identity of its first process.
func (l Layout) Spec(group string) string    { return filepath.Join(l.Root, "groups", group+".json") }
func (l Layout) Process(group string) string { return filepath.Join(l.Root, "groups", group+".pid") }

// Logs is the folder of a group's logs.
func (l Layout) Logs(group string) string { return filepath.Join(l.Root, "logs", group) }

// Log is the log of one program of a group.
func (l Layout) Log(group, program string) string {
	return filepath.Join(l.Logs(group), program+".log")
}

// Node is a file or folder of a node's own.
func (l Layout) Node(node string, elem ...string) string {
	return filepath.Join(append([]string{l.Root, "nodes", node}, elem...)...)
}

// Data is a file or folder of Control, Outside or Balancer.
func (l Layout) Data(group string, elem ...string) string {
	return filepath.Join(append([]string{l.Root, group}, elem...)...)
}

// OutsideCA is the certificate of the authority behind the outside world's HTTPS.
func (l Layout) OutsideCA() string { return l.Data(Outside, "ca.pem") }
