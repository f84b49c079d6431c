package source

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/pilot/model"
)

func tlsSecret(name, certificate string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: name},
		Data:       map[string][]byte{"tls.crt": []byte(certificate), "tls.key": []byte("key"), "tls.ocsp-staple": []byte("staple"), "other": []byte("unneeded")},
	}
}

func TestSecretsFollowTheCluster(t *testing.T) {
	kube := fake.NewClientset(tlsSecret("shop", "one"))
	s, changes := NewSecrets(kube, slog.New(slog.DiscardHandler)), make(chan string, 8)
	s.OnChange(func(namespace, name string) { changes <- namespace + "/" + name })
	if _, err := s.Get(t.Context(), "edge", "shop"); err == nil {
		t.Error("a Secret was read before Run")
	}
	go func() { _ = s.Run(t.Context()) }()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got, err := s.Get(t.Context(), "edge", "shop")
		if err == nil && string(got.Certificate) == "one" && string(got.Key) == "key" && string(got.Staple) == "staple" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v, %v", got, err)
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := s.Get(t.Context(), "edge", "missing"); err == nil {
		t.Error("a missing Secret was found")
	}
	<-changes
	if _, err := kube.CoreV1().Secrets("edge").Update(t.Context(), tlsSecret("shop", "two"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "edge/shop" {
		t.Errorf("told of %s", got)
	}
	if got, err := s.Get(t.Context(), "edge", "shop"); err != nil || string(got.Certificate) != "two" {
		t.Errorf("after the change: %v, %v", got, err)
	}
	if err := kube.CoreV1().Secrets("edge").Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "edge/shop" {
		t.Errorf("of the end: told of %s", got)
	}
}

// TestKeysOfSecrets holds that certificate and key, and roots and what they revoked, are each read from one set of keys, the generic one first.
func TestKeysOfSecrets(t *testing.T) {
	for why, c := range map[string]struct {
		data map[string]string
		want model.Secret
	}{
		"both sets": {
			map[string]string{"cert": "a", "key": "b", "cacert": "c", "crl": "d", "tls.crt": "e", "tls.key": "f", "tls.ocsp-staple": "g", "ca.crt": "h", "ca.crl": "i"},
			model.Secret{Certificate: []byte("a"), Key: []byte("b"), CA: []byte("c"), CRL: []byte("d")},
		},
		"kubernetes.io/tls": {
			map[string]string{"tls.crt": "e", "tls.key": "f", "tls.ocsp-staple": "g", "ca.crt": "h", "ca.crl": "i"},
			model.Secret{Certificate: []byte("e"), Key: []byte("f"), CA: []byte("h"), CRL: []byte("i"), Staple: []byte("g")},
		},
		"halves": {
			map[string]string{"cert": "a", "crl": "d", "tls.crt": "e", "tls.key": "f", "ca.crt": "h"},
			model.Secret{Certificate: []byte("e"), Key: []byte("f"), CA: []byte("h")},
		},
		"generic, with an OCSP response": {
			map[string]string{"cert": "a", "key": "b", "tls.ocsp-staple": "g"},
			model.Secret{Certificate: []byte("a"), Key: []byte("b"), Staple: []byte("g")},
		},
		"roots without what they revoked": {
			map[string]string{"cacert": "c", "ca.crt": "h", "ca.crl": "i"},
			model.Secret{CA: []byte("c")},
		},
	} {
		secret := &corev1.Secret{Data: map[string][]byte{}}
		for key, value := range c.data {
			secret.Data[key] = []byte(value)
		}
		if got := contentOf(secret); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q", why, [][]byte{got.Certificate, got.Key, got.CA, got.CRL, got.Staple})
		}
	}
}

// TestForbiddenNamespaces holds that who asks again for Secrets that cannot be listed does not wait again.
func TestForbiddenNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		kube.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(corev1.Resource("secrets"), "", nil)
		})
		s := NewSecrets(kube, slog.New(slog.DiscardHandler))
		go func() { _ = s.Run(t.Context()) }()
		synctest.Wait()
		for _, want := range []time.Duration{secretsWithin, 0} {
			began := time.Now()
			if _, err := s.Get(t.Context(), "edge", "shop"); err == nil || errors.Is(err, model.ErrNoSecret) {
				t.Errorf("a Secret that cannot be read: %v", err)
			}
			if took := time.Since(began); took > want {
				t.Errorf("took %s, want %s", took, want)
			}
		}
	})
}

func TestMayReadAsksAboutTheAccount(t *testing.T) {
	kube := fake.NewClientset()
	kube.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
		at := review.Spec.ResourceAttributes
		review.Status.Allowed = review.Spec.User == "system:serviceaccount:edge:internet" && at.Namespace == "shop" && at.Resource == "secrets"
		return true, review, nil
	})
	s := NewSecrets(kube, slog.New(slog.DiscardHandler))
	for account, want := range map[string]bool{"internet": true, "other": false} {
		if got, err := s.MayRead(t.Context(), model.Name{Namespace: "edge", Name: account}, "shop"); err != nil || got != want {
			t.Errorf("%s may read: %t, %v; want %t", account, got, err, want)
		}
	}
}
