package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/heddle-mesh/heddle/internal/ports"
)

func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters: [{name: c, cluster: {server: %q}}]\n"+
		"contexts: [{name: here, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: x}}]\n", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConnectSaysWhatIsWrongInOneSentence(t *testing.T) {
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer strict.Close()
	for why, c := range map[string]struct {
		config, context, want string
	}{
		"no kubeconfig":       {"/nonexistent", "", "no such file"},
		"an empty kubeconfig": {os.DevNull, "", "there is no kubeconfig"},
		"a wrong context":     {kubeconfig(t, "http://"+ports.Address(t)), "there", `context "there" does not exist`},
		"nothing listens":     {kubeconfig(t, "http://"+ports.Address(t)), "", "nothing listens at http://127.0.0.1"},
		"bad credentials":     {kubeconfig(t, strict.URL), "", "does not accept this context's credentials"},
	} {
		t.Run(why, func(t *testing.T) {
			flags := genericclioptions.NewConfigFlags(false)
			flags.KubeConfig, flags.Context = &c.config, &c.context
			_, err := Connect(t.Context(), flags)
			if !errors.Is(err, ErrNoCluster) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one sentence with %q", err, c.want)
			}
		})
	}
}

func TestExplainNamesMissingRights(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("User \"eve\" cannot list\nresource."))
	got := Explain(fmt.Errorf("listing pods: %w", forbidden)).Error()
	if !strings.HasPrefix(got, "missing rights: ") || !strings.Contains(got, `User "eve"`) || strings.Contains(got, "\n") {
		t.Errorf("got %q", got)
	}
}
