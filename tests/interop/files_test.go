package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// files are a certificate, its key, its root and a list of what that revoked, for configurations that name files of pods.
type files struct {
	dir  string
	pair model.Secret
	root []byte
}

func newFiles(t *testing.T) *files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, SubjectKeyId: []byte{1}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, template, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &files{dir: t.TempDir(), root: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	f.pair = model.Secret{Certificate: f.root, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
	for name, data := range map[protoreflect.Name][]byte{"certificate_chain": f.root, "private_key": f.pair.Key, "trusted_ca": f.root,
		"crl": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})} {
		if err := os.WriteFile(filepath.Join(f.dir, string(name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// standIn is the resource with our own files in place of those that it names, which are a pod's.
func (f *files) standIn(t *testing.T, r *wire.Resource) *wire.Resource {
	t.Helper()
	m, err := (&anypb.Any{TypeUrl: r.Type, Value: r.Body}).UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	if !f.replace(t, m) {
		return r
	}
	return message.Resource(r.Type, r.Name, m)
}

// replace changes every file name within a message, and reports whether there was one.
func (f *files) replace(t *testing.T, m proto.Message) (changed bool) {
	t.Helper()
	if packed, ok := m.(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		if changed = f.replace(t, inner); changed {
			packed.Value = message.Marshal(inner)
		}
		return changed
	}
	at := func(fd protoreflect.FieldDescriptor, v protoreflect.Message) {
		if data, ok := v.Interface().(*core.DataSource); ok && data.GetFilename() != "" {
			data.Specifier = &core.DataSource_Filename{Filename: filepath.Join(f.dir, string(fd.Name()))}
			changed = true
			return
		}
		changed = f.replace(t, v.Interface()) || changed
	}
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { at(fd, v.Message()); return true })
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				at(fd, v.List().Get(i).Message())
			}
		default:
			at(fd, v.Message())
		}
		return true
	})
	return changed
}
