package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// apiserver is a Kubernetes of etcd and API server alone: objects are what somebody writes.
type apiserver struct {
	etcd, server *process
	release      func()
	config       *rest.Config
	kubeconfig   string // file
}

// token is the administrator's. The server listens on the loopback interface only.
const token = "bench-pilot"

// startAPI starts one with its state in dir.
func startAPI(ctx context.Context, binary, dir string, patience time.Duration) (*apiserver, error) {
	at, release, err := addresses(3)
	if err != nil {
		return nil, err
	}
	a := &apiserver{release: release, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := a.start(binary, dir, at); err != nil {
		a.stop()
		return nil, err
	}
	if err := a.ready(ctx, patience); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *apiserver) start(binary, dir string, at []string) error {
	client, peer, secure := "http://"+at[0], "http://"+at[1], at[2]
	if err := a.identities(dir, secure); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(secure)
	if err != nil {
		return err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	a.etcd, err = spawn(dir, "etcd", nil, binary, "etcd", "--name=bench", "--data-dir="+file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster=bench="+peer)
	if err != nil {
		return err
	}
	a.server, err = spawn(dir, "kube-apiserver", nil, binary, "kube-apiserver", "--etcd-servers="+client, "--bind-address="+host, "--secure-port="+port,
		"--advertise-address="+host, "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file="+file("server.pem"), "--tls-private-key-file="+file("server-key.pem"), "--token-auth-file="+file("tokens"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+file("accounts-key.pem"),
		"--service-account-signing-key-file="+file("accounts-key.pem"), "--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount") // no controller makes accounts here
	return err
}

// ready waits until the server answers.
func (a *apiserver) ready(ctx context.Context, patience time.Duration) error {
	asked, err := discovery.NewDiscoveryClientForConfig(a.config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return a.server.until(ctx, patience, func(ctx context.Context) error {
		_, err := asked.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

func (a *apiserver) stop() {
	for _, p := range []*process{a.server, a.etcd} {
		if p != nil {
			p.stop()
		}
	}
	a.release()
}

// identities writes the server's certificate, the key of accounts, the administrator's token and kubeconfig.
func (a *apiserver) identities(dir, address string) error {
	certificate, key, err := selfSigned()
	if err != nil {
		return err
	}
	accounts, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the key of accounts: %w", err)
	}
	for name, data := range map[string][]byte{
		"server.pem": certificate, "server-key.pem": key, "tokens": []byte(token + `,admin,admin,"system:masters"` + "\n"),
		"accounts-key.pem": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(accounts)}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("writing identities: %w", err)
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["bench"] = &clientcmdapi.Cluster{Server: "https://" + address, CertificateAuthorityData: certificate}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["bench"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "admin"}
	config.CurrentContext = "bench"
	if err := clientcmd.WriteToFile(*config, a.kubeconfig); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	if a.config, err = clientcmd.BuildConfigFromFlags("", a.kubeconfig); err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	a.config.QPS, a.config.Burst = -1, -1 // what is measured is not this program's patience
	return nil
}

// selfSigned is a server's certificate for the loopback address, trusted by whoever holds it.
func selfSigned() (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the server's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the server's certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the server's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}
