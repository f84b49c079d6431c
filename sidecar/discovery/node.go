package discovery

import (
	"cmp"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/heddle-mesh/heddle/api/wire"
	"google.golang.org/protobuf/types/known/structpb"
)

// Node is what this proxy says of itself. The control plane trusts the proof that comes with the stream instead.
type Node struct {
	Type           string // wire.NodeSidecar or wire.NodeRouter
	IPs            []string
	Pod            string
	Workload       string // what owns the pod, a Deployment for example; "": not known, and not told
	Namespace      string
	ServiceAccount string
	ClusterID      string
	ClusterDomain  string
	NodeName       string
	Version        string
	Dialect        int // announced in place of wire.Dialect; 0: that one
	Labels         map[string]string
	Names          bool   // this proxy answers its pod's DNS questions
	TheirNames     bool   // the names for these come as Istio's control plane tells them
	OnDemand       bool   // hosts, clusters and listeners are asked for when they are first used
	Group          string // the WorkloadGroup that this proxy's machine registers itself by; "": it is a pod's
	Allocated      bool   // with the addresses that the mesh gave to ServiceEntries, too
}

// ID returns the node's name as users of proxy-status know it: type~ip~pod.namespace~namespace.svc.domain.
func (n Node) ID() string {
	ip := ""
	if len(n.IPs) > 0 {
		ip = n.IPs[0]
	}
	return strings.Join([]string{n.Type, ip, n.Pod + "." + n.Namespace, n.Namespace + ".svc." + n.ClusterDomain}, "~")
}

// NamesType is the type of resources in which names are told.
func (n Node) NamesType() string {
	if n.TheirNames {
		return wire.TypeNameTable
	}
	return wire.TypeNames
}

// Message is how it says so.
func (n Node) Message() *core.Node {
	text := func(s string) *structpb.Value { return structpb.NewStringValue(s) }
	labels := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range n.Labels {
		labels.Fields[k] = text(v)
	}
	out := &core.Node{
		Id: n.ID(), Cluster: n.Pod + "." + n.Namespace, UserAgentName: "heddle-proxy",
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: n.Version},
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			wire.MetaNamespace: text(n.Namespace), wire.MetaPodName: text(n.Pod), wire.MetaServiceAccount: text(n.ServiceAccount),
			wire.MetaInstanceIPs: text(strings.Join(n.IPs, ",")), wire.MetaClusterID: text(n.ClusterID), wire.MetaNodeName: text(n.NodeName),
			wire.MetaVersion: text(n.Version), wire.MetaDialect: text(strconv.Itoa(cmp.Or(n.Dialect, wire.Dialect))),
			"LABELS": structpb.NewStructValue(labels),
		}},
	}
	if n.Group != "" {
		out.Metadata.Fields[wire.MetaGroup] = text(n.Group)
	}
	if n.OnDemand {
		out.Metadata.Fields[wire.MetaOnDemand] = text("true")
	}
	if n.Names {
		out.Metadata.Fields[wire.MetaDNSCapture] = text("true")
		out.Metadata.Fields[wire.MetaDNSAutoAllocate] = text(strconv.FormatBool(n.Allocated))
	}
	return out
}
