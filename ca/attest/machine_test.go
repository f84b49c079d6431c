package attest_test

import (
	"crypto/x509"
	"errors"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/ca/attest"
)

// TestMachine holds that a proof that is bound to no pod is one only of a machine, to who asks for machines, for an account that there are machines of.
func TestMachine(t *testing.T) {
	type status = authenticationv1.TokenReviewStatus
	unbound := token(func(s *status) {
		s.User.Extra = map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/credential-id": {"JTI=1"}}
	})
	with := func(key, value string) status {
		return token(func(s *status) { s.User.Extra = map[string]authenticationv1.ExtraValue{key: {value}} })
	}
	certified := func(id string, units ...string) []*x509.Certificate {
		chain := certificate(id)
		chain[0].Subject.OrganizationalUnit = units
		return chain
	}
	const id = "spiffe://cluster.local/ns/shop/sa/catalog"
	for _, c := range []struct {
		why, check string
		token      status
		proof      attest.Proof
		none       bool // the mesh has no machines
	}{
		{"a token for nobody in particular", "", unbound, attest.Proof{Token: "t", Machine: true}, false},
		{"to who wants a pod", "binding", unbound, attest.Proof{Token: "t"}, false},
		{"where there are no machines", "machine", unbound, attest.Proof{Token: "t", Machine: true}, true},
		{"of another account", "machine", token(func(s *status) { *s = unbound; s.User.Username = "system:serviceaccount:shop:admin" }), attest.Proof{Token: "t", Machine: true}, false},
		{"of another namespace", "machine", token(func(s *status) { *s = unbound; s.User.Username = "system:serviceaccount:other:catalog" }), attest.Proof{Token: "t", Machine: true}, false},
		{"for another audience", "audience", token(func(s *status) { *s = unbound; s.Audiences = []string{"vault"} }), attest.Proof{Token: "t", Machine: true}, false},
		{"that has ended", "token", status{Error: "expired"}, attest.Proof{Token: "t", Machine: true}, false},
		{"bound to a node", "binding", with("authentication.kubernetes.io/node-name", "worker"), attest.Proof{Token: "t", Machine: true}, false},
		{"bound by half", "binding", with("authentication.kubernetes.io/pod-uid", "u1"), attest.Proof{Token: "t", Machine: true}, false},
		{"a machine's certificate", "", status{}, attest.Proof{Chain: certified(id, "machine"), Machine: true}, false},
		{"a machine's certificate, to who wants a pod", "binding", status{}, attest.Proof{Chain: certified(id, "machine")}, false},
		{"a machine's certificate, for a pod of its account", "binding", status{}, attest.Proof{Chain: certified(id, "machine"), ClaimedPod: "catalog-1"}, false},
		{"a machine's certificate where there are no machines any more", "machine", status{}, attest.Proof{Chain: certified(id, "machine"), Machine: true}, true},
		{"a machine's certificate of another account", "machine", status{}, attest.Proof{Chain: certified("spiffe://cluster.local/ns/shop/sa/admin", "machine"), Machine: true}, false},
		{"a machine's certificate of another mesh", "certificate", status{}, attest.Proof{Chain: certified("spiffe://elsewhere/ns/shop/sa/catalog", "machine"), Machine: true}, false},
		{"a pod's certificate", "binding", status{}, attest.Proof{Chain: certified(id), Machine: true}, false},
		{"another unit", "binding", status{}, attest.Proof{Chain: certified(id, "sales"), Machine: true}, false},
		{"more than one", "binding", status{}, attest.Proof{Chain: certified(id, "machine", "sales"), Machine: true}, false},
	} {
		world := &cluster{tokens: map[string]status{"t": c.token}}
		config := attest.Config{Reviewer: world, Audience: audience, TrustDomain: "cluster.local", Cached: world.pod, Live: world.pod}
		if !c.none {
			config.Machines = func(namespace, account string) bool { return namespace+"/"+account == "shop/catalog" }
		}
		caller, err := attest.New(config).Attest(t.Context(), c.proof)
		var refusal *attest.Refusal
		switch {
		case c.check == "" && (err != nil || !caller.Machine || caller.PodName != "" || caller.Identity.String() != id):
			t.Errorf("%s: %+v, %v", c.why, caller, err)
		case c.check != "" && (!errors.As(err, &refusal) || refusal.Check != c.check || !caller.Identity.IsZero()):
			t.Errorf("%s: %+v, %v, want a refusal by %s", c.why, caller, err, c.check)
		}
	}
}

// TestAPodIsNoMachine holds that a pod's token proves that pod, whoever asks, and goes on doing so where machines are of its account.
func TestAPodIsNoMachine(t *testing.T) {
	world := &cluster{tokens: map[string]authenticationv1.TokenReviewStatus{"t": token(nil)}, pods: map[string]*corev1.Pod{"shop/catalog-1": pod("u1", "catalog")}}
	a := attest.New(attest.Config{Reviewer: world, Audience: audience, TrustDomain: "cluster.local", Cached: world.pod, Live: world.pod,
		Machines: func(string, string) bool { return true }})
	if caller, err := a.Attest(t.Context(), attest.Proof{Token: "t", Machine: true}); err != nil || caller.Machine || caller.PodName != "catalog-1" {
		t.Errorf("%+v, %v", caller, err)
	}
}
