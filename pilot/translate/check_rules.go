package translate

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// destinationRule warns of a host that is not there, and of Secrets that the sidecars which obey the rule do not get.
func (c *Checker) destinationRule(log *report.Log, o *inputs.DestinationRule) {
	host := values.Host(o.Spec.Host, o.Namespace, c.mesh.ClusterDomain)
	svc := c.services[host]
	if svc == nil {
		if !strings.HasPrefix(host, "*") {
			log.Warnf("spec.host", "%s is not a known host", host)
		}
		return
	}
	everybodys := svc.Namespace == o.Namespace || o.Namespace == c.mesh.RootNamespace // others obey it at home only, as gateways do
	if o.Spec.WorkloadSelector != nil || !everybodys {
		return
	}
	forGateways(log, "spec.trafficPolicy", o.Spec.TrafficPolicy)
	for i, s := range o.Spec.Subsets {
		forGateways(log, indexed("spec.subsets", i)+".trafficPolicy", s.TrafficPolicy)
	}
}

// forGateways warns of Secrets, which reach gateways, and sidecars only where the rule selects them.
func forGateways(log *report.Log, path string, p *networking.TrafficPolicy) {
	warn := func(path string, t *networking.ClientTLSSettings) {
		if t.GetCredentialName() != "" {
			log.Warnf(path+".tls.credentialName",
				"for gateways: a sidecar that no workloadSelector chooses shows no certificate and checks the server by the system's roots")
		}
	}
	warn(path, p.GetTls())
	for i, q := range p.GetPortLevelSettings() {
		warn(indexed(path+".portLevelSettings", i), q.GetTls())
	}
}
