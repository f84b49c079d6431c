package istioapi

import (
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/machines"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
)

const (
	notYet  = "not implemented by this version"
	secrets = "certificates are named by credentialName"
	hidden  = "hidden in the API, and read by nobody"
)

// Kinds says what becomes of each field of the kinds of networking.istio.io.
func Kinds() []fields.Kind {
	return []fields.Kind{virtualServices(), destinationRules(), gateways(), registry.ServiceEntries(), registry.WorkloadEntries(), machines.Kind(), sidecars()}
}

func virtualServices() fields.Kind {
	return fields.Kind{Name: "VirtualService", Message: &networking.VirtualService{}, Honoured: virtualServiceFields,
		Refused: []fields.Note{
			{Path: "http.fault.delay.exponentialDelay", Why: hidden},
			{Path: "http.fault.abort.http2Error", Why: hidden},
			{Path: "tcp.match.sourceSubnet", Why: hidden},
		},
		Differs: []fields.Note{
			{Path: "http.redirect.redirectCode", Why: "301, 302, 303, 307 and 308; others, with which Istio leaves the rule out, are refused"},
			{Path: "http.match.statPrefix", Why: "Envoys count by it; the metrics of heddle-proxy name the service, and its access logs the route"},
			{Path: "tls.match.sniHosts", Why: "wildcards begin with `*.`; others, with which Envoy refuses the listener, are refused. A gateway narrows them to the server's hosts; Istio serves all names of a wildcard that has one of these"},
			{Path: "http.{headers,route.headers}.{request,response}.{set,add}", Why: "%START_TIME% has the usual layouts alone; %METADATA%, %TRAILER%, %DOWNSTREAM_PEER_CERT%, its serial and issuer, and operators that this version lacks are refused"},
			{Path: "http.match.{headers,withoutHeaders}", Why: "`@request.auth.claims` is refused: this version reads no tokens of users"},
		},
	}
}

func destinationRules() fields.Kind {
	const blocks = "loadBalancer.zoneAwareLbSetting"
	const deprecated = "outlierDetection.consecutiveErrors"
	both := func(path string) string {
		return "{trafficPolicy,subsets.trafficPolicy}.{" + path + ",portLevelSettings." + path + "}"
	}
	return fields.Kind{Name: "DestinationRule", Message: &networking.DestinationRule{}, Honoured: destinationRuleFields,
		Refused: []fields.Note{
			{Path: both(blocks), Why: notYet},
			{Path: both(deprecated), Why: "replaced by consecutive5xxErrors and consecutiveGatewayErrors"},
		},
		Differs: []fields.Note{
			{Path: "exportTo", Why: "a rule that lists more namespaces than an older one for the host adds to that, as in Istio, and is obeyed by itself in those that only it lists; in Istio nobody obeys it there"},
			{Path: "workloadSelector.matchLabels", Why: "a rule without, exported to `.` alone, for the same host is for all other workloads; in Istio it adds to the one with labels, and is lost for the others"},
		},
	}
}

func gateways() fields.Kind {
	return fields.Kind{Name: "Gateway", Message: &networking.Gateway{}, Honoured: gatewayFields,
		Refused: []fields.Note{
			{Path: "servers.defaultEndpoint", Why: hidden},
			{Path: "servers.port.targetPort", Why: "deprecated: the port's Service says where it leads"},
			{Path: "servers.tls.{serverCertificate,privateKey,caCertificates,caCrl}", Why: secrets + "; gateways read no files"},
			{Path: "servers.tls.tlsCertificates", Why: secrets + "; gateways read no files"},
			{Path: "servers.tls.insecureSkipVerify", Why: "a client certificate that nobody vouches for proves nothing"},
		},
		Differs: []fields.Note{
			{Path: "servers.port.protocol", Why: "MONGO is carried as TCP, and its commands not counted"},
			{Path: "servers.bind", Why: "an address; unix sockets are refused"},
			{Path: "servers.tls.caCertCredentialName", Why: "a Secret, not a ConfigMap"},
			{Path: "servers.tls.{minProtocolVersion,maxProtocolVersion}", Why: "TLS 1.0 and 1.1 are refused"},
			{Path: "servers.tls.cipherSuites", Why: "those with AES-GCM or ChaCha20; others, which nobody should use, are refused"},
		},
	}
}

func sidecars() fields.Kind {
	return fields.Kind{Name: "Sidecar", Message: &networking.Sidecar{}, Honoured: sidecarFields,
		Refused: []fields.Note{
			{Path: "ingress.tls.{httpsRedirect,credentialName,credentialNames,caCertCredentialName,subjectAltNames,tlsCertificates,insecureSkipVerify}", Why: "as in Istio: sidecars read their certificates from files, and accept all clients whom the CA vouches for"},
			{Path: "{egress,ingress}.port.targetPort", Why: hidden},
		},
		Differs: []fields.Note{
			{Path: "{inboundConnectionPool,ingress.connectionPool}.http.h2UpgradePolicy", Why: "without effect, as in Istio: what the application speaks is said by its port's protocol, or is what the client speaks"},
			{Path: "ingress.tls.mode", Why: "SIMPLE and MUTUAL, as in Istio, where the port's PeerAuthentication is DISABLE; elsewhere it is without effect"},
			{Path: "ingress.tls.{minProtocolVersion,maxProtocolVersion}", Why: "TLS 1.0 and 1.1 are refused"},
			{Path: "ingress.tls.cipherSuites", Why: "those with AES-GCM or ChaCha20; others, which nobody should use, are refused"},
			{Path: "egress.hosts", Why: "an ExternalName Service is imported by its own namespace and name; in Istio by that of the Service that it stands for, and its own name"},
			{Path: "egress.bind", Why: "an address; Unix domain sockets are refused"},
			{Path: "ingress.bind", Why: "any address with captureMode NONE; else 0.0.0.0 and :: only: connections to every address of the pod are captured"},
			{Path: "ingress.defaultEndpoint", Why: "not where the proxy itself listens, by a listener of the Sidecar or for itself"},
			{Path: "egress.captureMode", Why: "NONE needs a port, as `bind` does"},
			{Path: "ingress.captureMode", Why: "NONE needs a defaultEndpoint; what is captured all the same is served, too"},
			{Path: "{egress,ingress}.port.protocol", Why: "listeners of UDP are without effect, as in Istio, with a warning; MONGO, MYSQL and REDIS are carried as TCP, and their commands not counted"},
		},
	}
}
