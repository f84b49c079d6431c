package publish

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	envoytls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"golang.org/x/crypto/ocsp"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// vault is a SecretSource.
type vault struct {
	secrets map[string]model.Secret
	broken  map[string]error
	changed func(namespace, name string)
}

func (v *vault) Get(_ context.Context, namespace, name string) (model.Secret, error) {
	if err := v.broken[namespace+"/"+name]; err != nil {
		return model.Secret{}, err
	}
	s, ok := v.secrets[namespace+"/"+name]
	if !ok {
		return s, model.ErrNoSecret
	}
	return s, nil
}

func (v *vault) OnChange(f func(namespace, name string)) { v.changed = f }

func certificate(t *testing.T) model.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := model.Secret{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	out.CA = out.Certificate
	return out
}

// staple is an OCSP response about a Secret's certificate, which signs itself.
func staple(t *testing.T, s model.Secret) []byte {
	t.Helper()
	pair, err := tls.X509KeyPair(s.Certificate, s.Key)
	if err != nil {
		t.Fatal(err)
	}
	about := ocsp.Response{Status: ocsp.Good, SerialNumber: pair.Leaf.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	out, err := ocsp.CreateResponse(pair.Leaf, pair.Leaf, about, pair.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withGateway lets a Gateway that names the Secret select pods with the label app=edge.
func (c *cluster) withGateway(secret string) {
	c.gateways = []*model.Gateway{{
		From: model.Name{Namespace: "shop", Name: "edge"}, Selector: model.Selector{"app": "edge"},
		Servers: []*model.Server{{
			Name: "https", Port: 443, Protocol: model.HTTPS, Hosts: []model.GatewayHost{{Namespace: "*", Host: "*"}},
			TLS: &model.ServerTLS{Mode: model.ServerSimple, Certificates: []string{secret}},
		}},
	}}
}

func TestSecretsGoToGatewaysThatMayHaveThem(t *testing.T) {
	v := &vault{secrets: map[string]model.Secret{"shop/cert": certificate(t), "shop/unnamed": certificate(t)}}
	allowed, asked := map[string]bool{"edge": true, "plain": true}, 0
	mayRead := func(_ context.Context, account model.Name, namespace string) (bool, error) {
		asked++
		return account.Namespace == "shop" && namespace == "shop" && allowed[account.Name], nil
	}
	running(t, Options{Secrets: v, MayRead: mayRead}, func(t *testing.T, c *cluster, p *Publisher) {
		c.withGateway("cert")
		c.pod("edge-1", "edge", false)
		c.pod("plain-1", "plain", false)
		c.pod("edge-sidecar", "edge", true)
		c.all(p)
		gateway := c.subscribe(t, p, "edge-1", "edge", wire.NodeRouter)
		get := func(sub *client, name string) *wire.Resource {
			return sub.View().Get(t.Context(), wire.TypeSecret, name)
		}

		first := get(gateway, "kubernetes://cert")
		if first == nil || !bytes.Contains(first.Body, v.secrets["shop/cert"].Certificate) {
			t.Fatal("the gateway that a Gateway selects does not get the Secret")
		}
		if ca := get(gateway, "kubernetes://cert-cacert"); ca == nil || bytes.Contains(ca.Body, v.secrets["shop/cert"].Key) {
			t.Errorf("the CA beside the certificate is %v", ca)
		}
		for why, sub := range map[string]*client{
			"a gateway that no Gateway selects": c.subscribe(t, p, "plain-1", "plain", wire.NodeRouter),
			"a sidecar":                         c.subscribe(t, p, "edge-sidecar", "edge", wire.NodeSidecar),
		} {
			if get(sub, "kubernetes://cert") != nil {
				t.Errorf("%s gets the Secret", why)
			}
		}
		for _, name := range []string{"kubernetes://unnamed", "kubernetes://missing", "default", "ROOTCA", "cert"} {
			if get(gateway, name) != nil {
				t.Errorf("%s is handed out", name)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times whether the account may read; a permission counts for a minute", asked)
		}

		told(gateway)
		v.secrets["shop/cert"] = certificate(t)
		v.changed("shop", "cert")
		v.changed("shop", "unnamed")
		v.changed("bank", "cert")
		if got := told(gateway); got != "Secret/kubernetes://cert Secret/kubernetes://cert-cacert" {
			t.Errorf("after a change: told of %q", got)
		}
		if next := get(gateway, "kubernetes://cert"); next == nil || next.Version == first.Version {
			t.Error("the changed Secret has the old version")
		}
		v.secrets["shop/cert"] = model.Secret{Certificate: []byte("broken"), Key: []byte("broken")}
		if get(gateway, "kubernetes://cert") != nil {
			t.Error("a Secret that no proxy could use is sent")
		}
		stapled := certificate(t)
		stapled.Staple = []byte("broken")
		v.secrets["shop/cert"] = stapled
		if get(gateway, "kubernetes://cert") != nil {
			t.Error("a Secret whose OCSP response no proxy could read is sent")
		}
		stapled.Staple = staple(t, stapled)
		v.secrets["shop/cert"] = stapled
		if got := get(gateway, "kubernetes://cert"); got == nil || !bytes.Contains(got.Body, stapled.Staple) {
			t.Error("the OCSP response is left out")
		}
		v.secrets["shop/cert"] = certificate(t)
		allowed["edge"] = false
		time.Sleep(2 * mayReadFor)
		if get(gateway, "kubernetes://cert") != nil {
			t.Error("the right was withdrawn, and the Secret is still handed out")
		}
	})
}

// TestSecretsOfOtherNamespaces holds that a server's certificate in another namespace is sent where the gateway's account may read the Secrets of
// that one, whatever it may read at home.
func TestSecretsOfOtherNamespaces(t *testing.T) {
	v := &vault{secrets: map[string]model.Secret{"bank/cert": certificate(t), "shop/cert": certificate(t)}}
	allowed := map[string]bool{"shop": true}
	mayRead := func(_ context.Context, account model.Name, namespace string) (bool, error) {
		return account == model.Name{Namespace: "shop", Name: "edge"} && allowed[namespace], nil
	}
	running(t, Options{Secrets: v, MayRead: mayRead}, func(t *testing.T, c *cluster, p *Publisher) {
		c.withGateway("bank/cert")
		c.pod("edge-1", "edge", false)
		c.all(p)
		gateway := c.subscribe(t, p, "edge-1", "edge", wire.NodeRouter)
		get := func(name string) *wire.Resource { return gateway.View().Get(t.Context(), wire.TypeSecret, name) }
		if get("kubernetes://bank/cert") != nil {
			t.Error("the account may not read the Secrets of bank, and gets one")
		}
		allowed["bank"] = true
		time.Sleep(deniedFor)
		if got := get("kubernetes://bank/cert"); got == nil || !bytes.Contains(got.Body, v.secrets["bank/cert"].Certificate) {
			t.Error("the account may read the Secrets of bank, and gets another one or none")
		}
		if get("kubernetes://cert") != nil {
			t.Error("a Secret of the same name at home is handed out")
		}
		told(gateway)
		v.changed("shop", "cert")
		if got := told(gateway); got != "" {
			t.Errorf("after a change at home: told of %q", got)
		}
		v.changed("bank", "cert")
		if got := told(gateway); got != "Secret/kubernetes://bank/cert Secret/kubernetes://bank/cert-cacert" {
			t.Errorf("after a change: told of %q", got)
		}
	})
}

// TestRootsApart holds that the Secret NAME-cacert, where there is one, says whom to trust, whatever NAME says.
func TestRootsApart(t *testing.T) {
	own, apart := certificate(t), certificate(t)
	apart.CRL = []byte("revoked")
	for _, at := range []struct{ named, namespace string }{{"cert", "shop"}, {"bank/cert", "bank"}} {
		t.Run(at.named, func(t *testing.T) {
			v := &vault{secrets: map[string]model.Secret{at.namespace + "/cert": own}}
			mayRead := func(context.Context, model.Name, string) (bool, error) { return true, nil }
			running(t, Options{Secrets: v, MayRead: mayRead}, func(t *testing.T, c *cluster, p *Publisher) {
				c.withGateway(at.named)
				c.pod("edge-1", "edge", false)
				c.all(p)
				gateway := c.subscribe(t, p, "edge-1", "edge", wire.NodeRouter)
				roots := func() *wire.Resource {
					return gateway.View().Get(t.Context(), wire.TypeSecret, "kubernetes://"+at.named+"-cacert")
				}
				if got := roots(); got == nil || !bytes.Contains(got.Body, own.CA) {
					t.Error("without a Secret apart, the roots beside the certificate are not sent")
				}
				told(gateway)
				v.secrets[at.namespace+"/cert-cacert"] = apart
				v.changed(at.namespace, "cert-cacert")
				if got, want := told(gateway), "Secret/kubernetes://"+at.named+" Secret/kubernetes://"+at.named+"-cacert"; got != want {
					t.Errorf("of the Secret apart: told of %q", got)
				}
				if got := roots(); got == nil || !bytes.Contains(got.Body, apart.CA) || !bytes.Contains(got.Body, apart.CRL) || bytes.Contains(got.Body, own.CA) {
					t.Error("the roots are not those of the Secret apart, with what they revoked")
				}
				v.secrets[at.namespace+"/cert-cacert"] = model.Secret{}
				if roots() != nil {
					t.Error("a Secret apart without roots is passed over")
				}
				v.broken = map[string]error{at.namespace + "/cert-cacert": errors.New("forbidden")}
				if roots() != nil {
					t.Error("a Secret apart that cannot be read is passed over")
				}
			})
		})
	}
}

// TestRootsArePublic holds that roots are sent to whatever proxy of their namespace names them, and keys only to who may read them.
func TestRootsArePublic(t *testing.T) {
	both, apart, mixed := certificate(t), certificate(t), certificate(t)
	mixed.CA = append(mixed.CA, mixed.Key...)
	for why, at := range map[string]struct {
		named   string
		secrets map[string]model.Secret
		sent    []byte // nil: nothing
	}{
		"roots apart":                  {"cert", map[string]model.Secret{"shop/cert": both, "shop/cert-cacert": {CA: apart.CA}}, apart.CA},
		"roots alone":                  {"cert", map[string]model.Secret{"shop/cert": {CA: apart.CA, CRL: []byte("revoked")}}, apart.CA},
		"roots beside a key":           {"cert", map[string]model.Secret{"shop/cert": both}, both.CA},
		"a key among the roots":        {"cert", map[string]model.Secret{"shop/cert": mixed}, nil},
		"roots of another namespace":   {"bank/cert", map[string]model.Secret{"bank/cert": {CA: apart.CA}}, nil},
		"a Secret that nothing names":  {"other", map[string]model.Secret{"shop/cert": {CA: apart.CA}}, nil},
		"a Secret that is not there":   {"cert", nil, nil},
		"a Secret with no certificate": {"cert", map[string]model.Secret{"shop/cert": {CA: both.Key}}, nil},
	} {
		t.Run(why, func(t *testing.T) {
			v, mayRead := &vault{secrets: at.secrets}, func(context.Context, model.Name, string) (bool, error) { return false, nil }
			running(t, Options{Secrets: v, MayRead: mayRead}, func(t *testing.T, c *cluster, p *Publisher) {
				c.withGateway(at.named)
				c.pod("edge-1", "edge", false)
				c.all(p)
				view := c.subscribe(t, p, "edge-1", "edge", wire.NodeRouter).View()
				for _, name := range []string{"cert", "bank/cert"} {
					if view.Get(t.Context(), wire.TypeSecret, "kubernetes://"+name) != nil {
						t.Error("a certificate with its key is handed out")
					}
					got := view.Get(t.Context(), wire.TypeSecret, "kubernetes://"+name+"-cacert")
					if sent := got != nil; sent != (at.sent != nil && name == at.named) {
						t.Errorf("roots of %s are sent: %t", name, sent)
					} else if sent && (!bytes.Contains(got.Body, at.sent) || bytes.Contains(got.Body, []byte("PRIVATE KEY"))) {
						t.Errorf("roots of %s are others", name)
					}
				}
			})
		})
	}
}

func TestNobodyGetsSecretsUnasked(t *testing.T) {
	v := &vault{secrets: map[string]model.Secret{"shop/cert": certificate(t)}}
	for why, mayRead := range map[string]func(context.Context, model.Name, string) (bool, error){
		"nobody can be asked": nil,
		"asking fails":        func(context.Context, model.Name, string) (bool, error) { return true, errors.New("down") },
		"the answer is no":    func(context.Context, model.Name, string) (bool, error) { return false, nil },
	} {
		t.Run(why, func(t *testing.T) {
			running(t, Options{Secrets: v, MayRead: mayRead}, func(t *testing.T, c *cluster, p *Publisher) {
				c.withGateway("cert")
				c.pod("edge-1", "edge", false)
				c.all(p)
				gateway := c.subscribe(t, p, "edge-1", "edge", wire.NodeRouter)
				if gateway.View().Get(t.Context(), wire.TypeSecret, "kubernetes://cert") != nil {
					t.Error("the Secret is handed out")
				}
			})
		})
	}
}

// TestForeignProxiesFindTheirOwnCertificate holds that a stock Envoy is told which files hold its certificate and the roots, in the folder that it
// names, and that our own proxies, which hold them themselves, are told nothing.
func TestForeignProxiesFindTheirOwnCertificate(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.pod("web-1", "web", true)
		c.all(p)
		for _, node := range []struct {
			why    string
			node   discovery.Node
			folder string // "": nothing is told
		}{
			{"a foreign proxy", discovery.Node{}, wire.AgentPath},
			{"one that says where", discovery.Node{Certificates: "/certs/"}, "/certs"},
			{"a path from nowhere", discovery.Node{Certificates: "certs"}, ""},
			{"a proxy of ours", discovery.Node{Dialect: wire.Dialect, Certificates: "/certs"}, ""},
		} {
			node.node.Role = wire.NodeSidecar
			sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity("web"), Namespace: "shop", Pod: "web-1"}, node.node)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{wire.SecretWorkload, wire.SecretRoot} {
				r := sub.View().Get(t.Context(), wire.TypeSecret, name)
				if (r != nil) != (node.folder != "") {
					t.Errorf("%s: %s is %v", node.why, name, r)
				}
				if r == nil {
					continue
				}
				var s envoytls.Secret
				if err := proto.Unmarshal(r.Body, &s); err != nil {
					t.Fatal(err)
				}
				chain, key := s.GetTlsCertificate().GetCertificateChain().GetFilename(), s.GetTlsCertificate().GetPrivateKey().GetFilename()
				if name == wire.SecretWorkload && (chain != node.folder+"/"+wire.FileChain || key != node.folder+"/"+wire.FileKey) {
					t.Errorf("%s: %s and %s", node.why, chain, key)
				}
				if roots := s.GetValidationContext().GetTrustedCa().GetFilename(); name == wire.SecretRoot && roots != node.folder+"/"+wire.FileRoots {
					t.Errorf("%s: %s", node.why, roots)
				}
			}
			sub.Close()
		}
	})
}
