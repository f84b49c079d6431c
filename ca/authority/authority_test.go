package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
)

var (
	td  = spiffeid.RequireTrustDomainFromString("cluster.local")
	now = time.Now()
)

func allow(context.Context) error { return nil }

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	data, err := authority.Generate(td, now)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data map[string][]byte) *authority.Authority {
	t.Helper()
	a, err := authority.Parse(data, td)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leafTemplate(id string) *x509.Certificate {
	uri, _ := url.Parse(id)
	return &x509.Certificate{URIs: []*url.URL{uri}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func TestGeneratedRoot(t *testing.T) {
	root := parse(t, generate(t)).Bundle().X509Authorities()[0]
	if key, ok := root.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is %T, not of P-256", root.PublicKey)
	}
	if days := root.NotAfter.Sub(now).Hours() / 24; days < 3649 || days > 3651 {
		t.Errorf("valid for %.1f days, want 3650", days)
	}
	if !root.IsCA || !root.MaxPathLenZero || root.URIs[0].String() != "spiffe://cluster.local" {
		t.Errorf("not a signing certificate of the trust domain: %+v", root)
	}
}

func TestSignedLeafIsAnSVID(t *testing.T) {
	a := parse(t, generate(t))
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	chain, err := a.Sign(leafTemplate("spiffe://cluster.local/ns/shop/sa/catalog"), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := x509svid.Verify(chain[:1], a.Bundle())
	if err != nil || id.String() != "spiffe://cluster.local/ns/shop/sa/catalog" {
		t.Errorf("verified as %s: %v", id, err)
	}
	if len(chain) != 2 || !chain[1].Equal(a.Bundle().X509Authorities()[0]) {
		t.Error("the chain does not end in the root")
	}
	again, err := a.Sign(leafTemplate("spiffe://cluster.local/ns/shop/sa/catalog"), key.Public())
	if err != nil || again[0].SerialNumber.Cmp(chain[0].SerialNumber) == 0 {
		t.Errorf("a serial number twice (%v)", err)
	}
}

func TestLeafEndsWithTheRoot(t *testing.T) {
	a := parse(t, generate(t))
	root := a.Bundle().X509Authorities()[0]
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	late := leafTemplate("spiffe://cluster.local/ns/a/sa/b")
	late.NotAfter = root.NotAfter.Add(time.Hour)
	chain, err := a.Sign(late, key.Public())
	if err != nil || !chain[0].NotAfter.Equal(root.NotAfter) {
		t.Errorf("ends %s, the root %s (%v)", chain[0].NotAfter, root.NotAfter, err)
	}
	late.NotBefore = root.NotAfter.Add(time.Minute)
	if _, err := a.Sign(late, key.Public()); err == nil {
		t.Error("an expired root signs")
	}
}

func TestSlots(t *testing.T) {
	current, next, old := generate(t), generate(t), generate(t)
	data := maps.Clone(current)
	data[authority.KeyNextCert], data[authority.KeyNextKey] = next[authority.KeyCurrentCert], next[authority.KeyCurrentKey]
	data[authority.KeyRetiredCerts] = old[authority.KeyCurrentCert]
	a := parse(t, data)
	if n := len(a.Bundle().X509Authorities()); n != 3 {
		t.Errorf("%d roots are trusted, want 3", n)
	}
	if n := strings.Count(string(a.BundlePEM()), "BEGIN CERTIFICATE"); n != 3 {
		t.Errorf("%d roots are published, want 3", n)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	chain, err := a.Sign(leafTemplate("spiffe://cluster.local/ns/a/sa/b"), key.Public())
	if err != nil || !chain[1].Equal(parse(t, current).Bundle().X509Authorities()[0]) {
		t.Errorf("another key than the current one signs (%v)", err)
	}
}

func TestParseRefuses(t *testing.T) {
	good, other := generate(t), generate(t)
	foreign, err := authority.Generate(spiffeid.RequireTrustDomainFromString("elsewhere.example"), now)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(good[authority.KeyCurrentKey]), "\n")[1]
	with := func(key string, value []byte) map[string][]byte {
		m := maps.Clone(good)
		m[key] = value
		return m
	}
	for why, data := range map[string]map[string][]byte{
		"nothing":                  {},
		"no key":                   with(authority.KeyCurrentKey, nil),
		"another key":              with(authority.KeyCurrentKey, other[authority.KeyCurrentKey]),
		"garbage":                  with(authority.KeyCurrentCert, []byte("not PEM")),
		"two certificates":         with(authority.KeyCurrentCert, slices.Concat(good[authority.KeyCurrentCert], other[authority.KeyCurrentCert])),
		"a key for a certificate":  with(authority.KeyCurrentCert, good[authority.KeyCurrentKey]),
		"another trust domain":     foreign,
		"a next without its key":   with(authority.KeyNextCert, other[authority.KeyCurrentCert]),
		"garbage among the old":    with(authority.KeyRetiredCerts, good[authority.KeyCurrentKey]),
		"truncated PEM in the key": with(authority.KeyCurrentKey, good[authority.KeyCurrentKey][:40]),
	} {
		if _, err := authority.Parse(data, td); err == nil {
			t.Errorf("%s: accepted", why)
		} else if strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: the error shows the key: %v", why, err)
		}
	}
}

// TestRootOfAnAlias holds that a mesh on its way to another trust domain, or back, goes on with the root that it has, which signs for the new one.
func TestRootOfAnAlias(t *testing.T) {
	secrets := fake.NewClientset().CoreV1().Secrets(wire.SystemNamespace)
	first, err := authority.Ensure(t.Context(), secrets, td, now, allow)
	if err != nil {
		t.Fatal(err)
	}
	next, other := spiffeid.RequireTrustDomainFromString("new.example.com"), spiffeid.RequireTrustDomainFromString("elsewhere.example")
	never := func(context.Context) error { return errors.New("never asked") }
	a, err := authority.Ensure(t.Context(), secrets, next, now, never, other, td)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	chain, err := a.Sign(leafTemplate("spiffe://new.example.com/ns/shop/sa/catalog"), key.Public())
	if err != nil || string(a.BundlePEM()) != string(first.BundlePEM()) || a.TrustDomain() != next {
		t.Fatalf("another root, or another trust domain: %s, %v", a.TrustDomain(), err)
	}
	if id, _, err := x509svid.Verify(chain[:1], a.Bundle()); err != nil || id.TrustDomain() != next {
		t.Errorf("signed for %s: %v", id, err)
	}
	for _, aliases := range [][]spiffeid.TrustDomain{nil, {other}} {
		if _, err := authority.Ensure(t.Context(), secrets, next, now, never, aliases...); err == nil {
			t.Errorf("a root of %s is one of %s with the aliases %v", td, next, aliases)
		}
	}
}

func TestReplicasAgreeOnOneRoot(t *testing.T) {
	cluster := fake.NewClientset()
	secrets := cluster.CoreV1().Secrets(wire.SystemNamespace)
	const replicas = 16
	roots := make([]string, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			a, err := authority.Ensure(t.Context(), secrets, td, now, allow)
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = string(a.BundlePEM())
		})
	}
	wg.Wait()
	for i, root := range roots {
		if root != roots[0] || root == "" {
			t.Errorf("replica %d has another root", i)
		}
	}
	late, err := authority.Ensure(t.Context(), secrets, td, now, func(context.Context) error { return errors.New("never asked") })
	if err != nil || string(late.BundlePEM()) != roots[0] {
		t.Errorf("a later start has another root (%v)", err)
	}
}

func TestEnsureAsksBeforeItMakesARoot(t *testing.T) {
	cluster := fake.NewClientset()
	no := errors.New("no")
	_, err := authority.Ensure(t.Context(), cluster.CoreV1().Secrets(wire.SystemNamespace), td, now, func(context.Context) error { return no })
	if !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	if list, _ := cluster.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); len(list.Items) != 0 {
		t.Error("a root was made nevertheless")
	}
}

func TestForeignProxies(t *testing.T) {
	ours, theirs := parse(t, generate(t)), parse(t, generate(t))
	rotated := string(theirs.BundlePEM()) + string(ours.BundlePEM())
	proxy := func(phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "catalog"}, Status: corev1.PodStatus{Phase: phase},
			Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: wire.RootConfigMap}}}}}}}
	}
	plain := proxy(corev1.PodRunning)
	plain.Spec.Volumes = nil
	for _, c := range []struct {
		why       string
		published string
		stored    map[string][]byte
		pod       *corev1.Pod
		refused   bool
	}{
		{"a fresh cluster", "", nil, nil, false},
		{"our own proxies", string(ours.BundlePEM()), storedAs(ours), proxy(corev1.PodRunning), false},
		{"a root in common is enough", rotated, storedAs(ours), proxy(corev1.PodRunning), false},
		{"the Secret is gone, proxies run", string(ours.BundlePEM()), nil, proxy(corev1.PodRunning), true},
		{"the Secret is another's", string(theirs.BundlePEM()), storedAs(ours), proxy(corev1.PodRunning), true},
		{"a root that cannot be read", "garbage", storedAs(ours), proxy(corev1.PodRunning), true},
		{"proxies that have ended", string(theirs.BundlePEM()), nil, proxy(corev1.PodSucceeded), false},
		{"pods without proxy", string(theirs.BundlePEM()), nil, plain, false},
	} {
		cluster := fake.NewClientset()
		if c.published != "" {
			create(t, cluster.CoreV1().ConfigMaps("shop").Create, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: wire.RootConfigMap},
				Data: map[string]string{wire.RootConfigMapKey: c.published}})
		}
		if c.stored != nil {
			create(t, cluster.CoreV1().Secrets(wire.SystemNamespace).Create, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: wire.RootSecret}, Data: c.stored})
		}
		if c.pod != nil {
			create(t, cluster.CoreV1().Pods("shop").Create, c.pod)
		}
		err := authority.CheckCluster(t.Context(), cluster)
		if errors.Is(err, authority.ErrForeignProxies) != c.refused {
			t.Errorf("%s: %v", c.why, err)
		}
		if c.refused && err != nil && !strings.Contains(err.Error(), "shop/catalog") {
			t.Errorf("%s: no pod is named: %v", c.why, err)
		}
	}
}

func storedAs(a *authority.Authority) map[string][]byte {
	return map[string][]byte{authority.KeyCurrentCert: a.BundlePEM()}
}

func create[T any](t *testing.T, f func(context.Context, T, metav1.CreateOptions) (T, error), obj T) {
	t.Helper()
	if _, err := f(t.Context(), obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
