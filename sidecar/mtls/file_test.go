package mtls

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestRevocationFromFiles: what a list in a file revokes is refused, and nobody is believed while the list cannot be read.
func TestRevocationFromFiles(t *testing.T) {
	ca, dir := newPKI(t), t.TempDir()
	file := &File{Path: filepath.Join(dir, "ca.pem"), CRL: filepath.Join(dir, "crl.pem")}
	if err := os.WriteFile(file.Path, ca.ca(), 0o600); err != nil {
		t.Fatal(err)
	}
	chain, key := ca.issue(41, "server.example.com", time.Hour)
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(ServerConfig{Certificates: []Certificate{holder{&cert}}})
	client := NewClient(ClientConfig{SNI: "server.example.com", Trust: Trust{File: file}, NameFromSNI: true})
	refused := func() string {
		_, _, _, cErr := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1)
		if cErr == nil {
			return ""
		}
		return cErr.Error()
	}
	revoke := func(at int64, serials ...int64) {
		t.Helper()
		list := &x509.RevocationList{Number: big.NewInt(at), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
		for _, n := range serials {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, list, ca.cert, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file.CRL, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file.CRL, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if why := refused(); !strings.Contains(why, "revocation list") {
		t.Errorf("without its list: %q", why)
	}
	if revoke(100, 40); refused() != "" {
		t.Errorf("another's serial was revoked: %q", refused())
	}
	if revoke(200, 41); !strings.Contains(refused(), "revoked") {
		t.Errorf("revoked: %q", refused())
	}
	if err := os.WriteFile(file.CRL, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if why := refused(); !strings.Contains(why, "revocation list") {
		t.Errorf("an empty list: %q", why)
	}
}

// TestWhatIsNoFile: neither what never ends, nor what nobody writes to, nor what is too large is read: handshakes wait for it.
func TestWhatIsNoFile(t *testing.T) {
	ca, dir := newPKI(t), t.TempDir()
	small, large, fifo := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "large.pem"), filepath.Join(dir, "fifo")
	link := filepath.Join(dir, "link.pem") // as Kubernetes mounts Secrets
	padded := append(bytes.Repeat([]byte{'\n'}, largest+1-len(ca.ca())), ca.ca()...)
	for _, err := range []error{os.WriteFile(small, padded[1:], 0o600), os.WriteFile(large, padded, 0o600), syscall.Mkfifo(fifo, 0o600), os.Symlink(small, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, why := range map[string]string{
		small: "", link: "", large: "has more than 16777216 bytes", fifo: "no regular file", dir: "no regular file", "/dev/zero": "no regular file",
	} {
		for _, file := range []*File{{Path: path}, {Path: small, CRL: path}} {
			_, err := file.load()
			if path == small || path == link {
				if file.CRL == "" && err != nil {
					t.Errorf("%s: %v", path, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %q", path, err, why)
			}
		}
		if (&Files{Chain: path, Key: path}).Certificate() != nil {
			t.Errorf("%s is a certificate and a key", path)
		}
	}
}

func TestCertificateFromFiles(t *testing.T) {
	ca, dir := newPKI(t), t.TempDir()
	files := &Files{Chain: filepath.Join(dir, "chain.pem"), Key: filepath.Join(dir, "key.pem")}
	if files.Certificate() != nil {
		t.Error("a certificate out of nothing")
	}
	write := func(at time.Time, chain, key []byte) {
		t.Helper()
		for name, data := range map[string][]byte{files.Chain: chain, files.Key: key} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	serial := func() int64 {
		t.Helper()
		cert := files.Certificate()
		if cert == nil {
			t.Fatal("no certificate")
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	chain, key := ca.issue(31, "client", time.Hour)
	write(time.Unix(100, 0), chain, key)
	if got := serial(); got != 31 {
		t.Errorf("serial %d", got)
	}
	write(time.Unix(200, 0), []byte("half"), key)
	if got := serial(); got != 31 {
		t.Errorf("serial %d while the files are broken", got)
	}
	chain, key = ca.issue(32, "client", time.Hour)
	write(time.Unix(300, 0), chain, key)
	if got := serial(); got != 32 {
		t.Errorf("serial %d after a change", got)
	}
}
