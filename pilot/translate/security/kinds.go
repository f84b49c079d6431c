package security

import (
	security "istio.io/api/security/v1beta1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// Kinds says what becomes of each field of the kinds of security.istio.io.
func Kinds() []fields.Kind {
	const users = "this version reads no tokens of users; the policy fails closed"
	const remote = "at sidecars the peer's address: X-Forwarded-For counts at gateways alone. Istio's sidecars take its last address"
	return []fields.Kind{
		{Name: "PeerAuthentication", Message: &security.PeerAuthentication{}, Honoured: peerAuthenticationFields},
		{Name: "AuthorizationPolicy", Message: &security.AuthorizationPolicy{}, Honoured: authorizationFields,
			Refused: []fields.Note{
				{Path: "{targetRef,targetRefs,provider}", Why: "not implemented by this version; the policy fails closed"},
				{Path: "rules.from.source.{requestPrincipals,notRequestPrincipals}", Why: users},
			},
			Differs: []fields.Note{
				{Path: "action", Why: "CUSTOM denies all that it selects; AUDIT is reported and decides nothing; " +
					"so does a policy with the annotation `istio.io/dry-run`: what it would decide is not logged"},
				{Path: "rules.from.source.{remoteIpBlocks,notRemoteIpBlocks}", Why: remote},
				{Path: "rules.when.key", Why: "`request.auth.*` is refused: " + users + ". No filter of the proxies says anything under " +
					"`experimental.envoy.filters.*`: with ALLOW the rule matches nobody, with DENY it matches without the condition. `remote.ip`: " + remote},
			},
		},
	}
}
