package telemetry

import (
	"strconv"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// key is what decides the labels of an exchange, by pointer where content is shared: comparing it is cheap, and the labels themselves
// are made only when a key is new.
type key struct {
	via         *exchange.Via
	cluster     *exchange.ClusterInfo
	source      *exchange.Workload
	destination *exchange.Workload
	sourceID    string
	destID      string
	code        int
	grpc        int
	flags       exchange.Flag
	protocol    exchange.Protocol
	isGRPC      bool
	mutual      bool
	metrics     uint32 // that the series is to hold
	removed     uint32 // labels that are left out
	made        string // labels that the request makes: settings.Append
}

// labels spells a key out.
func (k *key) labels() Labels {
	var l Labels
	l[reporter] = "source"
	l[connectionSecurityPolicy] = unknown
	if k.via.Direction == exchange.Inbound {
		l[reporter] = "destination"
		l[connectionSecurityPolicy] = "none"
		if k.mutual {
			l[connectionSecurityPolicy] = "mutual_tls"
		}
	}
	l.workload(sourceWorkload, k.source)
	l.workload(destinationWorkload, k.destination)
	l[sourcePrincipal], l[destinationPrincipal] = orUnknown(k.sourceID), orUnknown(k.destID)
	l.service(k)
	l[responseFlags] = k.flags.String()
	l[requestProtocol] = "tcp"
	if k.protocol != exchange.TCP {
		l[requestProtocol] = "http"
		l[responseCode] = strconv.Itoa(k.code)
	}
	if k.isGRPC {
		l[requestProtocol] = "grpc"
		if k.grpc >= 0 {
			l[grpcResponseStatus] = strconv.Itoa(k.grpc)
		}
	}
	for i := range l {
		if k.removed&(1<<i) != 0 {
			l[i] = ""
		}
	}
	l.set(k.made)
	return l
}

// workload fills the block of labels that begins at the workload's name; source and destination have the same order.
func (l *Labels) workload(at int, w *exchange.Workload) {
	if w == nil {
		w = &exchange.Workload{}
	}
	cluster := w.Cluster
	if cluster == "" && w.Name != "" {
		cluster = "Kubernetes"
	}
	for i, v := range [...]string{w.Name, w.Namespace, "", w.App, w.Version, cluster, w.CanonicalName, w.CanonicalRevision} {
		l[at+i] = orUnknown(v)
	}
}

// service names the destination service. Hosts that the mesh does not know collapse to the cluster that took them.
func (l *Labels) service(k *key) {
	l[destinationService], l[destinationServiceName], l[destinationServiceNamespace] = unknown, unknown, unknown
	if k.cluster == nil {
		return
	}
	s := k.cluster.Service
	if s.Host == "" {
		l[destinationService], l[destinationServiceName] = k.cluster.Name, k.cluster.Name
		return
	}
	l[destinationService], l[destinationServiceName], l[destinationServiceNamespace] = s.Host, orUnknown(s.Name), orUnknown(s.Namespace)
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}
