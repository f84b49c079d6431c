package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	security "istio.io/api/security/v1alpha1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
)

func clientset(t *testing.T) kubernetes.Interface {
	t.Helper()
	kube, err := kubernetes.NewForConfig(access(t))
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

// scratch makes a namespace with labels for the time of the test, and waits until pods can be made in it.
func scratch(t *testing.T, kube kubernetes.Interface, labels map[string]string) string {
	t.Helper()
	ns, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "heddle-e2e-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, t.Context(), 30*time.Second, func() error {
		_, err := kube.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// nowhere is a pod that no node takes: it exists, and that is all.
func nowhere(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		NodeSelector: map[string]string{"heddle.dev/nowhere": "true"}, Containers: []corev1.Container{{Name: "app", Image: "none"}},
	}}
}

// authority asks heddled for certificates, as a proxy does.
type authority struct {
	t      *testing.T
	kube   kubernetes.Interface
	ns     string
	client security.IstioCertificateServiceClient
}

func dialAuthority(t *testing.T, kube kubernetes.Interface, ns string) *authority {
	t.Helper()
	service, err := kube.CoreV1().Services(wire.SystemNamespace).Get(t.Context(), wire.DiscoveryService, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	eventually(t, t.Context(), 30*time.Second, func() error {
		published, err := kube.CoreV1().ConfigMaps(ns).Get(t.Context(), wire.RootConfigMap, metav1.GetOptions{})
		if err == nil {
			roots.AppendCertsFromPEM([]byte(published.Data[wire.RootConfigMapKey]))
		}
		return err
	})
	conn, err := grpc.NewClient(net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(wire.PortDiscovery)), grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{RootCAs: roots, ServerName: wire.DiscoveryService + "." + wire.SystemNamespace + ".svc", MinVersion: tls.VersionTLS12})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &authority{t: t, kube: kube, ns: ns, client: security.NewIstioCertificateServiceClient(conn)}
}

// token is one of the account default, bound to pod unless that is nil.
func (a *authority) token(audience string, pod *corev1.Pod) string {
	a.t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	out, err := a.kube.CoreV1().ServiceAccounts(a.ns).CreateToken(a.t.Context(), "default", request, metav1.CreateOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Status.Token
}

// ask returns the identity of the certificate that a request with the given names gets, or the code of the refusal.
func (a *authority) ask(token string, seconds int64, names ...string) (string, codes.Code) {
	a.t.Helper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		uri, err := url.Parse(name)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(a.t.Context(), "authorization", "Bearer "+token), 20*time.Second)
	defer cancel()
	out, err := a.client.CreateCertificate(ctx, &security.IstioCertificateRequest{ValidityDuration: seconds,
		Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))})
	if err != nil {
		return "", status.Code(err)
	}
	block, _ := pem.Decode([]byte(out.CertChain[0]))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(leaf.URIs) != 1 {
		a.t.Fatalf("the leaf names %v: %v", leaf.URIs, err)
	}
	return leaf.URIs[0].String(), codes.OK
}

func TestWhoGetsACertificate(t *testing.T) {
	kube := clientset(t)
	ns := scratch(t, kube, nil)
	a := dialAuthority(t, kube, ns)
	pod, err := kube.CoreV1().Pods(ns).Create(t.Context(), nowhere("asks"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own := "spiffe://" + wire.DefaultTrustDomain + "/ns/" + ns + "/sa/default"
	other := "spiffe://" + wire.DefaultTrustDomain + "/ns/" + ns + "/sa/admin"
	good := a.token(wire.TokenAudience, pod)
	for _, c := range []struct {
		why     string
		token   string
		seconds int64
		names   []string
		want    codes.Code
	}{
		{"a pod's own token", good, 60, nil, codes.OK},
		{"its own name", good, 60, []string{own}, codes.OK},
		{"another identity", good, 60, []string{other}, codes.InvalidArgument},
		{"a year", good, 365 * 86400, nil, codes.InvalidArgument},
		{"a token for somebody else", a.token("vault", pod), 60, nil, codes.Unauthenticated},
		{"a token that no pod is bound to", a.token(wire.TokenAudience, nil), 60, nil, codes.Unauthenticated},
		{"a forged token", good[:len(good)-8] + "AAAAAAAA", 60, nil, codes.Unauthenticated},
		{"no token", "", 60, nil, codes.Unauthenticated},
	} {
		identity, code := a.ask(c.token, c.seconds, c.names...)
		if code != c.want || code == codes.OK && identity != own {
			t.Errorf("%s: %s %s, want %s", c.why, code, identity, c.want)
		}
	}
	if err := kube.CoreV1().Pods(ns).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, t.Context(), 90*time.Second, func() error {
		if _, code := a.ask(good, 60); code != codes.Unauthenticated {
			return status.Error(code, "the token of a pod that is gone")
		}
		return nil
	})
}
