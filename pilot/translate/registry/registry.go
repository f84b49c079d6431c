// Package registry translates what clients find beside Kubernetes' own Services: ServiceEntries and WorkloadEntries. It is pure, and looks nobody up: what
// selects whom is settled by its parent, translate.
package registry

import (
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/translate/core"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// reader reads one object.
type reader struct {
	fields.Reader
	labels *core.LabelSets
}

// ServiceEntries says what becomes of each field of that kind.
func ServiceEntries() fields.Kind {
	return fields.Kind{Name: "ServiceEntry", Message: &networking.ServiceEntry{}, Honoured: serviceEntryFields,
		Refused: []fields.Note{{Path: "endpoints.network", Why: "there is one network"}},
		Differs: []fields.Note{
			{Path: "hosts", Why: "wildcards such as `*-a.example.com` need ports without TLS, as Envoy refuses them as server names; Istio refuses them with HTTPS"},
			{Path: "addresses", Why: "entries of one host and namespace that are one service are reached at the addresses of all, at all of its ports; in Istio each entry's addresses have its own ports alone"},
			{Path: "resolution", Why: "with DYNAMIC_DNS, ports speak HTTP or TLS, and names that lead to the proxy's own machine, its links or loopback are answered 503. Entries of one host and namespace that differ in it are not one service, as in Istio: ports that only the younger has are undeclared; Istio leads them to clusters that do not exist"},
			{Path: "subjectAltNames", Why: "entries of one host and namespace whose lists differ are not made one service, nor have they one another's endpoints; in Istio they are and have, and the oldest list holds for all"},
			{Path: "ports.protocol", Why: "ports of UDP are without effect, as in Istio, with a warning; MONGO, MYSQL and REDIS are carried as TCP, and their commands not counted"},
			{Path: "workloadSelector.labels", Why: "with DNS and DNS_ROUND_ROBIN, WorkloadEntries alone: pods have addresses, for which there is STATIC; with NONE without effect; with DYNAMIC_DNS refused"},
		},
	}
}

// WorkloadEntries says what becomes of each field of that kind.
func WorkloadEntries() fields.Kind {
	return fields.Kind{Name: "WorkloadEntry", Message: &networking.WorkloadEntry{}, Honoured: workloadEntryFields,
		Refused: []fields.Note{{Path: "network", Why: "there is one network"}},
		Differs: []fields.Note{{Path: "address", Why: "an address, a unix socket, or a name, which ServiceEntries with resolution DNS or DNS_ROUND_ROBIN alone select"}},
	}
}
