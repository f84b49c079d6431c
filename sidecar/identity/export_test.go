package identity

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestExport holds that who asks for it gets each certificate with its key before it is in force, and the anchors when they change; that a
// certificate which cannot be handed out is not in force; and that logs show no key.
func TestExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, second := newCA(t), newCA(t)
		roots, path := rootsOf(t, ca)
		var mu sync.Mutex
		var out []Material
		handed := func() []Material { mu.Lock(); defer mu.Unlock(); return slices.Clone(out) }
		failures := 1
		w := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet()})
		w.options.Export = func(m Material) error {
			if failures > 0 {
				failures--
				return errors.New("the disk is full")
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, m)
			return nil
		}
		go w.Run(t.Context()) // ends with the test
		time.Sleep(100 * time.Millisecond)
		if w.Certificate() != nil {
			t.Error("a certificate that was not handed out is in force")
		}
		<-w.Ready()
		synctest.Wait()
		if len(handed()) != 1 {
			t.Fatalf("handed out %d times", len(handed()))
		}
		pair, err := tls.X509KeyPair(handed()[0].Chain, handed()[0].Key)
		if err != nil || !pair.Leaf.Equal(w.Certificate().Leaf) || !bytes.Equal(handed()[0].Roots, ca.root()) {
			t.Errorf("handed out another certificate or other anchors (%v)", err)
		}
		writeRoots(t, path, ca, second)
		time.Sleep(2 * rootsEvery)
		synctest.Wait()
		if len(handed()) != 2 || !bytes.Equal(handed()[1].Key, handed()[0].Key) || !bytes.Equal(handed()[1].Roots, append(ca.root(), second.root()...)) {
			t.Errorf("handed out %d times after the anchors changed", len(handed()))
		}
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		if len(handed()) != 3 || bytes.Equal(handed()[2].Key, handed()[0].Key) {
			t.Errorf("handed out %d times after half a life", len(handed()))
		}
		if said := fmt.Sprintf("%v %+v %#v", handed()[0], handed()[0], handed()[0]); bytes.Contains([]byte(said), []byte("PRIVATE")) {
			t.Errorf("shown: %s", said)
		}
	})
}

// TestKeptFromAnotherTrustDomain holds that a machine goes on with what it was given in the trust domain that the mesh moved to, and not with another's.
func TestKeptFromAnotherTrustDomain(t *testing.T) {
	ca := newCA(t)
	roots, _ := rootsOf(t, ca)
	ca.domain = "new.example.com"
	for identity, own := range map[string]bool{"spiffe://new.example.com/ns/shop/sa/web": true, "spiffe://new.example.com/ns/shop/sa/other": false} {
		ca.identity = identity
		var kept Material
		first := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet(), Export: func(m Material) error { kept = m; return nil }})
		first.options.Expected.ServiceAccount = identity[strings.LastIndex(identity, "/")+1:]
		if err := first.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet(), Kept: func() (Material, error) { return kept, nil }})
		if again.restore(); (again.Certificate() != nil) != own {
			t.Errorf("%s: in force: %v", identity, !own)
		}
	}
}
