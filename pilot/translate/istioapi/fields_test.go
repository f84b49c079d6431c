package istioapi

import (
	"testing"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// TestEveryFieldIsListed fails when the API has a field that is neither honoured nor refused on purpose: a new version of the API
// brings no field that is silently ignored, or accepted by accident.
func TestEveryFieldIsListed(t *testing.T) {
	const blocks = "{loadBalancer.{zoneAwareLbSetting,consistentHash,warmup,warmupDurationSecs}," +
		"connectionPool.{http.http2KeepAlive,tcp.maxConnectionDuration},outlierDetection.{consecutiveErrors,outlierDetectionHttpErrorCodes}}"
	const policy = "trafficPolicy.{" + blocks + ",portLevelSettings." + blocks + ",tunnel,proxyProtocol,retryBudget.budgetInterval}"
	for kind, c := range map[string]struct {
		message  proto.Message
		honoured fields.Set
		refused  fields.Set
	}{
		"VirtualService": {&networking.VirtualService{}, virtualServiceFields, fields.New("http.match.statPrefix", "http.fault.delay.exponentialDelay",
			"http.fault.abort.http2Error", "tcp.match.sourceSubnet")},
		"DestinationRule": {&networking.DestinationRule{}, destinationRuleFields, fields.New(policy, "subsets."+policy)},
		"Gateway": {&networking.Gateway{}, gatewayFields, fields.New("servers.{defaultEndpoint,port.targetPort}", "servers.tls.{serverCertificate,privateKey,caCertificates,"+
			"caCrl,credentialNames,caCertCredentialName,tlsCertificates,verifyCertificateSpki,verifyCertificateHash,insecureSkipVerify}")},
		"ServiceEntry": {&networking.ServiceEntry{}, serviceEntryFields, fields.New("endpoints.network")},
		"Sidecar": {&networking.Sidecar{}, sidecarFields, fields.New("inboundConnectionPool", "outboundTrafficPolicy.egressProxy", "egress.port.targetPort",
			"ingress.{port.targetPort,tls,connectionPool}")},
	} {
		t.Run(kind, func(t *testing.T) {
			unlisted, unknown := c.honoured.Compare(c.refused, c.message.ProtoReflect().Descriptor())
			if len(unlisted)+len(unknown) > 0 {
				t.Errorf("neither honoured nor refused: %v\nlisted, but not in the API: %v", unlisted, unknown)
			}
		})
	}
}
