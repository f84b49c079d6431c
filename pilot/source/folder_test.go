package source

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

const (
	serviceText = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME, namespace: shop}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
	podText     = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: shop}\nspec: {containers: [{name: app}]}\n"
	meshText    = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: heddle}\ndata: {mesh: 'connectTimeout: 3s'}\n"
	secretText  = "apiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: shop}\nstringData: {tls.crt: VALUE, tls.key: k}\n"
)

// shelf is a folder that a test writes to, and what was told of it.
type shelf struct {
	t   *testing.T
	dir string

	mu   sync.Mutex
	told []*inputs.Inputs
}

// last is what was told last, or nil, and how often anything was.
func (s *shelf) last() (*inputs.Inputs, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.told) == 0 {
		return nil, 0
	}
	return s.told[len(s.told)-1], len(s.told)
}

func (s *shelf) put(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	now := time.Now() // the bubble's, which files do not know
	if err := os.Chtimes(path, now, now); err != nil {
		s.t.Fatal(err)
	}
}

// services are the names of the Services that were told last, after the folder was looked at.
func (s *shelf) services() string {
	time.Sleep(2 * lookEvery)
	synctest.Wait()
	in, _ := s.last()
	if in == nil {
		return "nothing"
	}
	var out []string
	for _, o := range in.Services {
		out = append(out, o.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestFolder holds that a folder is followed as a cluster would be, and that what cannot be read changes nothing.
func TestFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{t: t, dir: t.TempDir()}
		var endpoints atomic.Int64
		var changed []string // guarded by s.mu
		f := NewFolder(FolderOptions{Dir: s.dir, Mesh: *DefaultMesh(), Log: slog.New(slog.DiscardHandler)})
		f.OnInputs(func(in *inputs.Inputs) { s.mu.Lock(); defer s.mu.Unlock(); s.told = append(s.told, in) }, func(*inputs.Inputs) { endpoints.Add(1) })
		f.OnChange(func(namespace, name string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			changed = append(changed, namespace+"/"+name)
		})
		s.put("broken.yaml", "kind: [")
		s.put("a.yaml", strings.ReplaceAll(serviceText, "NAME", "a"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		want := func(why, services string) {
			t.Helper()
			if got := s.services(); got != services {
				t.Errorf("%s: told of %q, want %q", why, got, services)
			}
		}
		want("nothing before all can be read", "nothing")
		s.put("broken.yaml", podText)
		want("once it is mended", "a")
		s.put("below/b.json", `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {}}`)
		s.put("below/readme.txt", "kind: [")
		s.put(".hidden/c.yaml", strings.ReplaceAll(serviceText, "NAME", "c"))
		want("folders below, and no other files", "a b")
		before, told := s.last()
		want("nothing new", "a b")
		if _, n := s.last(); n != told || int(endpoints.Load()) != told {
			t.Errorf("told %d times, and of endpoints %d times, of %d states", n, endpoints.Load(), told)
		}
		s.put("mesh.yaml", meshText)
		want("settings", "a b")
		if in, _ := s.last(); in.Mesh.Config.GetConnectTimeout().GetSeconds() != 3 || in.Mesh.Namespace != DefaultMesh().Namespace || in.Services[0] != before.Services[0] {
			t.Errorf("settings %v, or objects that did not change were read anew", in.Mesh.Config)
		}
		s.put("a.yaml", "kind: [")
		want("a file that is broken later", "a b")
		if err := os.Remove(filepath.Join(s.dir, "a.yaml")); err != nil {
			t.Fatal(err)
		}
		want("a file that is gone", "b")
		s.put("secret.yaml", strings.ReplaceAll(secretText, "VALUE", "one"))
		want("a secret", "b")
		if got, err := f.Get(ctx, "shop", "cert"); err != nil || string(got.Certificate) != "one" || string(got.Key) != "k" {
			t.Errorf("the secret is %s, %v", got.Certificate, err)
		}
		s.mu.Lock()
		if !slices.Equal(changed, []string{"shop/cert"}) {
			t.Errorf("told of the secrets %v", changed)
		}
		s.mu.Unlock()
		if _, err := f.Get(ctx, "other", "cert"); err == nil {
			t.Error("a secret of another namespace")
		}
		if p, err := f.Pod(ctx, "shop", "web-1"); err != nil || p.Name != "web-1" {
			t.Errorf("the pod: %v, %v", p, err)
		}
		if _, err := f.Pod(ctx, "shop", "web-2"); !apierrors.IsNotFound(err) {
			t.Errorf("a pod that is not there: %v", err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
