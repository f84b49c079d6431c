package security

import (
	"testing"

	"google.golang.org/protobuf/proto"
	security "istio.io/api/security/v1beta1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// TestEveryFieldIsListed fails when the API has a field that is neither honoured nor refused on purpose.
func TestEveryFieldIsListed(t *testing.T) {
	for kind, c := range map[string]struct {
		message  proto.Message
		honoured fields.Set
		refused  fields.Set
	}{
		"PeerAuthentication": {&security.PeerAuthentication{}, peerAuthenticationFields, fields.New()},
		"AuthorizationPolicy": {&security.AuthorizationPolicy{}, authorizationFields, fields.New("{targetRef,targetRefs,provider}",
			"rules.from.source.{requestPrincipals,notRequestPrincipals}")},
	} {
		t.Run(kind, func(t *testing.T) {
			unlisted, unknown := c.honoured.Compare(c.refused, c.message.ProtoReflect().Descriptor())
			if len(unlisted)+len(unknown) > 0 {
				t.Errorf("neither honoured nor refused: %v\nlisted, but not in the API: %v", unlisted, unknown)
			}
		})
	}
}
