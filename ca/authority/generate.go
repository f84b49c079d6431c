package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

const (
	// rootLife is how long a root is valid.
	rootLife = 3650 * 24 * time.Hour
	// rootBackdate allows for clocks that are behind.
	rootBackdate = time.Hour
)

// Generate makes the data of a new Secret: a self-signed P-256 root for the trust domain, valid for ten years.
func Generate(trustDomain spiffeid.TrustDomain, now time.Time) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the root's key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{trustDomain.Name()}, CommonName: "Heddle root"},
		URIs:                  []*url.URL{trustDomain.ID().URL()},
		NotBefore:             now.Add(-rootBackdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the root: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the root's key: %w", err)
	}
	return map[string][]byte{
		KeyCurrentCert: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}),
		KeyCurrentKey:  pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: pkcs8}),
	}, nil
}

// Secrets is the part of a typed client for one namespace that Ensure needs.
type Secrets interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.Secret, error)
	Create(ctx context.Context, secret *corev1.Secret, opts metav1.CreateOptions) (*corev1.Secret, error)
}

// Ensure returns the authority of the Secret wire.RootSecret, which it makes where there is none. Replicas may race: the API
// server lets one Create win, and every replica then uses what it reads, never what it made. Before making a new root it asks
// mayCreate, whose error it returns. A root that is there may also be of one of the aliases.
func Ensure(ctx context.Context, secrets Secrets, trustDomain spiffeid.TrustDomain, now time.Time, mayCreate func(context.Context) error,
	aliases ...spiffeid.TrustDomain,
) (*Authority, error) {
	secret, err := secrets.Get(ctx, wire.RootSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if err := create(ctx, secrets, trustDomain, now, mayCreate); err != nil {
			return nil, err
		}
		secret, err = secrets.Get(ctx, wire.RootSecret, metav1.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", wire.RootSecret, err)
	}
	a, err := Parse(secret.Data, trustDomain, aliases...)
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", wire.RootSecret, err)
	}
	return a, nil
}

func create(ctx context.Context, secrets Secrets, trustDomain spiffeid.TrustDomain, now time.Time, mayCreate func(context.Context) error) error {
	if err := mayCreate(ctx); err != nil {
		return fmt.Errorf("making a new root: %w", err)
	}
	data, err := Generate(trustDomain, now)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: wire.RootSecret, Labels: map[string]string{"app.kubernetes.io/managed-by": "heddled"}},
		Type:       corev1.SecretTypeOpaque,
		Data:       data,
	}
	_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Secret %s: %w", wire.RootSecret, err)
	}
	return nil
}
