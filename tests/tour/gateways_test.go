package tour

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/samples"
)

// The Secrets that the READMEs have a reader make are those that the demo makes: the same names, types and keys.
func TestSecretsAreThoseOfTheReadmes(t *testing.T) {
	certs, err := NewCertificates(PublicHost, PrivateHost)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{kube: fake.NewClientset(), Certs: certs, OutsideCA: []byte("an authority")}
	if err := c.Secrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	made, err := c.kube.CoreV1().Secrets(GatewayNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]corev1.SecretType{}
	for _, s := range made.Items {
		want[s.Name] = s.Type
	}
	paths, err := samples.Readmes()
	if err != nil {
		t.Fatal(err)
	}
	from := "--from-file=cacert=" + filepath.Join(filepath.Dir(Kubeconfig), "outside", "ca.pem")
	for _, path := range paths {
		text, err := fs.ReadFile(samples.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range slices.Concat(samples.Blocks(string(text), samples.Setup)...) {
			rest, ok := strings.CutPrefix(command, "kubectl -n "+GatewayNamespace+" create secret ")
			if !ok {
				continue
			}
			words := strings.Fields(rest)
			kind := corev1.SecretTypeTLS
			if words[0] == "generic" {
				kind = corev1.SecretTypeOpaque
			}
			if want[words[1]] != kind || kind == corev1.SecretTypeOpaque && words[2] != from {
				t.Errorf("%s: the demo's Secret %s is %q: %s", path, words[1], want[words[1]], command)
			}
			delete(want, words[1])
		}
	}
	if len(want) > 0 {
		t.Errorf("no README tells of %v", want)
	}
}
