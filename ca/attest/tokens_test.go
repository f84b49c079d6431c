package attest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heddle-mesh/heddle/ca/attest"
)

// TestTokenFile holds that a token of the file proves its pod and nobody else, and that a file that is not as it should be proves nobody.
func TestTokenFile(t *testing.T) {
	good, other := strings.Repeat("a", 32), strings.Repeat("b", 32)
	pods := func(_ context.Context, namespace, name string) (*corev1.Pod, error) {
		if namespace+"/"+name != "shop/catalog-1" {
			return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
		}
		return pod("u1", "catalog"), nil
	}
	for _, c := range []struct {
		why, text, token string
		mode             os.FileMode
		refused, failed  bool
	}{
		{"a pod's token", "# ours\n\n" + good + " shop catalog-1\n" + other + " shop gone-1\n", good, 0o600, false, false},
		{"a token that is not in it", good + " shop catalog-1\n", other, 0o600, true, false},
		{"a token for a pod that is not there", good + " shop gone-1\n", good, 0o600, true, false},
		{"a file that others may read", good + " shop catalog-1\n", good, 0o644, false, true},
		{"a line that lacks the pod", good + " shop catalog-1\n" + other + " shop\n", good, 0o600, false, true},
		{"a short token", good + " shop catalog-1\nabc shop catalog-1\n", good, 0o600, false, true},
		{"a token twice", good + " shop catalog-1\n" + good + " shop other-1\n", good, 0o600, false, true},
		{"no file", "", good, 0, false, true},
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if c.mode != 0 {
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
		}
		a := attest.New(attest.Config{Reviewer: attest.TokenFile{Path: path, Pods: pods}, Audience: audience, TrustDomain: "cluster.local", Cached: pods, Live: pods})
		caller, err := a.Attest(t.Context(), attest.Proof{Token: c.token})
		if (err != nil) != (c.refused || c.failed) || attest.IsRefusal(err) != c.refused {
			t.Errorf("%s: %+v, %v", c.why, caller, err)
		}
		if err == nil && (caller.PodName != "catalog-1" || caller.Identity.String() != "spiffe://cluster.local/ns/shop/sa/catalog") {
			t.Errorf("%s: %+v", c.why, caller)
		}
		if err != nil && (strings.Contains(err.Error(), good) || strings.Contains(err.Error(), other)) {
			t.Errorf("%s: the error shows a token: %v", c.why, err)
		}
	}
}
