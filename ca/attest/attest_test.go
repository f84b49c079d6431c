package attest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/ca/attest"
)

const audience = "heddle-ca"

// cluster is what the API server knows: tokens and pods.
type cluster struct {
	tokens map[string]authenticationv1.TokenReviewStatus
	pods   map[string]*corev1.Pod
	down   bool
	asked  []string
}

func (c *cluster) Create(_ context.Context, r *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	if c.down {
		return nil, errors.New("connection refused")
	}
	c.asked = r.Spec.Audiences
	out := r.DeepCopy()
	out.Status = c.tokens[r.Spec.Token]
	return out, nil
}

func (c *cluster) pod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	if c.down {
		return nil, errors.New("connection refused")
	}
	if pod, ok := c.pods[namespace+"/"+name]; ok {
		return pod, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
}

func pod(uid, account string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "catalog-1", UID: types.UID(uid)},
		Spec: corev1.PodSpec{ServiceAccountName: account, NodeName: "worker"}}
}

func token(edit func(*authenticationv1.TokenReviewStatus)) authenticationv1.TokenReviewStatus {
	s := authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{audience}, User: authenticationv1.UserInfo{
		Username: "system:serviceaccount:shop:catalog",
		Extra: map[string]authenticationv1.ExtraValue{
			"authentication.kubernetes.io/pod-name": {"catalog-1"}, "authentication.kubernetes.io/pod-uid": {"u1"},
		}}}
	if edit != nil {
		edit(&s)
	}
	return s
}

func attestor(c *cluster, cached attest.Pods) *attest.Attestor {
	if cached == nil {
		cached = c.pod
	}
	return attest.New(attest.Config{Reviewer: c, Audience: audience, TrustDomain: "cluster.local", Cached: cached, Live: c.pod})
}

func TestToken(t *testing.T) {
	type status = authenticationv1.TokenReviewStatus
	for _, c := range []struct {
		why, check string
		token      authenticationv1.TokenReviewStatus
		pod        *corev1.Pod
	}{
		{"a pod's own token", "", token(nil), pod("u1", "catalog")},
		{"an expired or forged token", "token", token(func(s *status) { *s = status{Error: "token has expired"} }), pod("u1", "catalog")},
		{"a token for another audience", "audience", token(func(s *status) { s.Audiences = []string{"vault"} }), pod("u1", "catalog")},
		{"a server that does not know audiences", "audience", token(func(s *status) { s.Audiences = nil }), pod("u1", "catalog")},
		{"a user", "account", token(func(s *status) { s.User.Username = "admin" }), pod("u1", "catalog")},
		{"a node", "account", token(func(s *status) { s.User.Username = "system:node:worker" }), pod("u1", "catalog")},
		{"a token that no pod is bound to", "binding", token(func(s *status) { s.User.Extra = nil }), pod("u1", "catalog")},
		{"two pods", "binding", token(func(s *status) {
			s.User.Extra["authentication.kubernetes.io/pod-name"] = authenticationv1.ExtraValue{"catalog-1", "admin-1"}
		}), pod("u1", "catalog")},
		{"a pod that is gone", "pod", token(nil), nil},
		{"a pod of that name, made since", "pod", token(nil), pod("u2", "catalog")},
		{"a pod of another account", "pod", token(nil), pod("u1", "admin")},
		{"a pod that has ended", "pod", token(nil), func() *corev1.Pod {
			p := pod("u1", "catalog")
			p.Status.Phase = corev1.PodFailed
			return p
		}()},
	} {
		world := &cluster{tokens: map[string]status{"t": c.token}, pods: map[string]*corev1.Pod{}}
		if c.pod != nil {
			world.pods["shop/catalog-1"] = c.pod
		}
		caller, err := attestor(world, nil).Attest(t.Context(), attest.Proof{Token: "t"})
		if c.check == "" {
			if err != nil || caller.Identity.String() != "spiffe://cluster.local/ns/shop/sa/catalog" || caller.PodUID != "u1" || caller.Node != "worker" {
				t.Errorf("%s: %+v, %v", c.why, caller, err)
			}
			continue
		}
		var refusal *attest.Refusal
		if !errors.As(err, &refusal) || refusal.Check != c.check {
			t.Errorf("%s: %v, want a refusal by %s", c.why, err, c.check)
		}
		if !caller.Identity.IsZero() {
			t.Errorf("%s: refused, yet a caller is returned", c.why)
		}
		if len(world.asked) != 1 || world.asked[0] != audience {
			t.Errorf("%s: asked for audiences %v", c.why, world.asked)
		}
	}
}

func TestTokenNeedsNoCacheThatKnowsIt(t *testing.T) {
	world := &cluster{tokens: map[string]authenticationv1.TokenReviewStatus{"t": token(nil)}, pods: map[string]*corev1.Pod{"shop/catalog-1": pod("u1", "catalog")}}
	for why, cached := range map[string]attest.Pods{
		"the cache has not seen the pod": func(context.Context, string, string) (*corev1.Pod, error) {
			return nil, apierrors.NewNotFound(corev1.Resource("pods"), "catalog-1")
		},
		"the cache has the pod of before": func(context.Context, string, string) (*corev1.Pod, error) { return pod("u0", "catalog"), nil },
	} {
		if _, err := attestor(world, cached).Attest(t.Context(), attest.Proof{Token: "t"}); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestOurTroubleIsNoRefusal(t *testing.T) {
	world := &cluster{down: true}
	if _, err := attestor(world, nil).Attest(t.Context(), attest.Proof{Token: "t"}); err == nil || attest.IsRefusal(err) {
		t.Errorf("with the API server down: %v", err)
	}
}

func certificate(ids ...string) []*x509.Certificate {
	cert := &x509.Certificate{}
	for _, id := range ids {
		uri, _ := url.Parse(id)
		cert.URIs = append(cert.URIs, uri)
	}
	return []*x509.Certificate{cert}
}

func TestCertificate(t *testing.T) {
	world := &cluster{pods: map[string]*corev1.Pod{"shop/catalog-1": pod("u1", "catalog")}}
	const id = "spiffe://cluster.local/ns/shop/sa/catalog"
	for _, c := range []struct {
		why, check string
		proof      attest.Proof
	}{
		{"a pod of the identity", "", attest.Proof{Chain: certificate(id), ClaimedPod: "catalog-1"}},
		{"no pod named", "binding", attest.Proof{Chain: certificate(id)}},
		{"a pod of another identity", "pod", attest.Proof{Chain: certificate("spiffe://cluster.local/ns/shop/sa/admin"), ClaimedPod: "catalog-1"}},
		{"a pod of another namespace", "pod", attest.Proof{Chain: certificate("spiffe://cluster.local/ns/other/sa/catalog"), ClaimedPod: "catalog-1"}},
		{"another trust domain", "certificate", attest.Proof{Chain: certificate("spiffe://elsewhere/ns/shop/sa/catalog"), ClaimedPod: "catalog-1"}},
		{"no identity", "certificate", attest.Proof{Chain: certificate(), ClaimedPod: "catalog-1"}},
		{"two identities", "certificate", attest.Proof{Chain: certificate(id, id), ClaimedPod: "catalog-1"}},
		{"another form of identity", "certificate", attest.Proof{Chain: certificate("spiffe://cluster.local/node/worker"), ClaimedPod: "catalog-1"}},
		{"nothing at all", "proof", attest.Proof{ClaimedPod: "catalog-1"}},
	} {
		_, err := attestor(world, nil).Attest(t.Context(), c.proof)
		var refusal *attest.Refusal
		if c.check == "" && err != nil || c.check != "" && (!errors.As(err, &refusal) || refusal.Check != c.check) {
			t.Errorf("%s: %v, want %q", c.why, err, c.check)
		}
	}
}

// TestCertificateOfAnAlias holds that who has not renewed his certificate since the trust domain was another is known as one of today's, and nobody else is.
func TestCertificateOfAnAlias(t *testing.T) {
	world := &cluster{pods: map[string]*corev1.Pod{"shop/catalog-1": pod("u1", "catalog")}}
	a := attest.New(attest.Config{Reviewer: world, Audience: audience, TrustDomain: "new.example.com", Aliases: []string{"cluster.local"}, Cached: world.pod, Live: world.pod})
	for id, known := range map[string]bool{
		"spiffe://cluster.local/ns/shop/sa/catalog": true, "spiffe://new.example.com/ns/shop/sa/catalog": true,
		"spiffe://cluster.local/ns/shop/sa/admin": false, "spiffe://elsewhere/ns/shop/sa/catalog": false,
	} {
		caller, err := a.Attest(t.Context(), attest.Proof{Chain: certificate(id), ClaimedPod: "catalog-1"})
		if (err == nil) != known || known && caller.Identity.String() != "spiffe://new.example.com/ns/shop/sa/catalog" {
			t.Errorf("%s is %s, %v", id, caller.Identity, err)
		}
	}
}

// TestACertificateStandsInForAToken holds that a proxy with both is known while the API server is away, by its certificate and the cache; that a token which
// is judged and not believed is the end of it; and that nothing is made up.
func TestACertificateStandsInForAToken(t *testing.T) {
	const id = "spiffe://cluster.local/ns/shop/sa/catalog"
	cached := func(context.Context, string, string) (*corev1.Pod, error) { return pod("u1", "catalog"), nil }
	both := attest.Proof{Token: "t", Chain: certificate(id), ClaimedPod: "catalog-1"}
	away, there := &cluster{down: true}, &cluster{tokens: map[string]authenticationv1.TokenReviewStatus{"t": {Error: "expired"}}}
	if caller, err := attestor(away, cached).Attest(t.Context(), both); err != nil || caller.Identity.String() != id || caller.PodUID != "u1" {
		t.Errorf("while the API server is away: %+v, %v", caller, err)
	}
	if _, err := attestor(there, cached).Attest(t.Context(), both); !attest.IsRefusal(err) {
		t.Errorf("with a token that is not valid: %v", err)
	}
	for says, proof := range map[string]attest.Proof{"no certificate": {Token: "t", ClaimedPod: "catalog-1"}, "no pod named": {Token: "t", Chain: certificate(id)},
		"another's pod": {Token: "t", Chain: certificate("spiffe://cluster.local/ns/shop/sa/admin"), ClaimedPod: "catalog-1"}} {
		if _, err := attestor(away, cached).Attest(t.Context(), proof); err == nil || attest.IsRefusal(err) {
			t.Errorf("%s: %v, want an error that is no refusal", says, err)
		}
	}
}

func TestRefusalNamesWho(t *testing.T) {
	world := &cluster{tokens: map[string]authenticationv1.TokenReviewStatus{"t": token(nil)}}
	_, err := attestor(world, nil).Attest(t.Context(), attest.Proof{Token: "t"})
	if err == nil || !strings.Contains(err.Error(), "spiffe://cluster.local/ns/shop/sa/catalog") {
		t.Errorf("error %v", err)
	}
}

func TestInvalidTokenHintsAtWho(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:shop:admin\n"}`))
	_, err := attestor(&cluster{}, nil).Attest(t.Context(), attest.Proof{Token: "h." + claims + ".s"})
	if err == nil || !strings.Contains(err.Error(), `claims to be "system:serviceaccount:shop:admin\n"`) {
		t.Errorf("error %v", err)
	}
}

func TestFromContext(t *testing.T) {
	chain := certificate("spiffe://cluster.local/ns/shop/sa/catalog")
	verified := credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}}
	claimed := credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: chain}}
	for _, c := range []struct {
		why     string
		auth    credentials.AuthInfo
		headers []string
		token   string
		chain   bool
	}{
		{"a token over TLS", claimed, []string{"Bearer abc"}, "abc", false},
		{"the scheme in lower case", claimed, []string{"bearer abc"}, "abc", false},
		{"a verified certificate", verified, nil, "", true},
		{"another scheme", claimed, []string{"Basic abc"}, "", false},
		{"two tokens", claimed, []string{"Bearer a", "Bearer b"}, "", false},
		{"a token in the clear", nil, []string{"Bearer abc"}, "", false},
		{"an empty token", claimed, []string{"Bearer "}, "", false},
	} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: c.auth})
		for _, h := range c.headers {
			md, _ := metadata.FromIncomingContext(ctx)
			ctx = metadata.NewIncomingContext(ctx, metadata.Join(md, metadata.Pairs("authorization", h)))
		}
		p := attest.FromContext(ctx)
		if p.Token != c.token || (len(p.Chain) > 0) != c.chain {
			t.Errorf("%s: %+v", c.why, p)
		}
	}
}
