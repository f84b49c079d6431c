package plane

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// signer signs certificate requests.
type signer struct {
	root   *authority.Authority
	server *http.Server
}

func newSigner(socket string, root *authority.Authority) (*signer, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	s := &signer{root: root}
	s.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(s.serve)}
	go func() { _ = s.server.Serve(l) }() // it ends when it is closed
	return s, nil
}

func (s *signer) close() { _ = s.server.Close() }

const largestRequest = 64 << 10

func (s *signer) serve(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, largestRequest))
	if err == nil {
		text, err = s.sign(filepath.Base(r.URL.Path), text)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(text)
}

// sign returns the chain in PEM, leaf first.
func (s *signer) sign(account string, request []byte) ([]byte, error) {
	csr, err := issue.ParseCSR(request)
	if err != nil {
		return nil, err
	}
	id, err := identityOf(account)
	if err != nil {
		return nil, err
	}
	template, err := issue.Decide(issue.Request{CSR: csr, Caller: id}, issue.DefaultPolicy(), time.Now())
	if err != nil {
		return nil, err
	}
	chain, err := s.root.Sign(template, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, cert := range chain {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// local is a signer as an identity.Authority.
type local struct {
	*signer
	account string
}

// Sign implements identity.Authority.
func (l local) Sign(_ context.Context, csr []byte, _ time.Duration) (identity.Answer, error) {
	chain, err := l.sign(l.account, csr)
	return identity.Answer{Chain: []string{string(chain)}}, err
}

// Certificate returns a folder with an account's key, chain and trust anchors, as the agent keeps it for proxies that are not Heddle's.
func (p *Plane) Certificate(ctx context.Context, account string) (dir string, err error) {
	dir = filepath.Join(p.dir, "certificate-"+account)
	folder, err := agent.New(dir)
	if err != nil {
		return "", err
	}
	id, err := identityOf(account)
	if err != nil {
		return "", err
	}
	w := identity.New(identity.Options{Expected: id, TTL: issue.DefaultTTL, Roots: identity.NewRoots(p.Roots()), Log: slog.New(slog.DiscardHandler), Export: folder.Write,
		Authority: local{p.signer, account}})
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	select {
	case <-w.Ready():
		return dir, nil
	case err := <-done:
		return "", fmt.Errorf("no certificate for %s: %w", account, err)
	}
}
