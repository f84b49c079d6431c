package analyze

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/meshctl/survey"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// Running adds what runs in a cluster to its objects: pods, nodes and endpoints. What the user may not list stays unknown, nothing is said of it, and
// it is among those that are returned first.
func Running(ctx context.Context, kube kubernetes.Interface, in *inputs.Inputs) (forbidden []error, err error) {
	err = replica.AddRunning(ctx, kube, in)
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, err
	}
	for _, one := range several.Unwrap() {
		if !apierrors.IsForbidden(one) {
			return nil, fmt.Errorf("looking at what runs: %w", err)
		}
		forbidden = append(forbidden, one)
	}
	return forbidden, nil
}

// SecretsOf looks Secrets up in a cluster. Those that the user may not read are not known.
func SecretsOf(ctx context.Context, kube kubernetes.Interface) survey.Secrets {
	return func(namespace, name string) (*core.Secret, bool) {
		secret, err := kube.CoreV1().Secrets(namespace).Get(ctx, name, meta.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, true
		case err != nil:
			return nil, false
		}
		return secret, true
	}
}

// ListeningIn asks the proxies of pods, of one namespace where one is named, what their pods' programs listen on. What a proxy does not tell is not known.
func ListeningIn(ctx context.Context, ask proxy.Asker, namespace string) survey.Listening {
	return func(p *core.Pod) ([]netip.AddrPort, bool) {
		if namespace != "" && p.Namespace != namespace {
			return nil, false
		}
		answer, err := ask.Ask(ctx, p.Namespace, p.Name, wire.PortAdmin, http.MethodGet, wire.PathSockets)
		var out []netip.AddrPort
		if err != nil || json.Unmarshal(answer, &out) != nil {
			return nil, false
		}
		return out, true
	}
}

// running adds nodes and the pods of files, and those that their Deployments and the like would make, as they would run, to a mesh. Files of which that cannot be said
// add none: what is wrong with them is said elsewhere.
func running(in *inputs.Inputs, files []Text, namespace string, p inject.Params) {
	texts := make([]replica.Text, len(files))
	for i, f := range files {
		texts[i] = replica.Text(f)
	}
	made, err := replica.FromFiles(texts, namespace, p)
	if err != nil {
		return
	}
	known := map[ref]bool{}
	for _, p := range in.Pods {
		known[ref{"Pod", p.Namespace, p.Name}] = true
	}
	for _, p := range made.Pods {
		if !known[ref{"Pod", p.Namespace, p.Name}] {
			in.Pods = append(in.Pods, p)
		}
	}
	for _, n := range made.Nodes {
		if !slices.ContainsFunc(in.Nodes, func(o *core.Node) bool { return o.Name == n.Name }) {
			in.Nodes = append(in.Nodes, n)
		}
	}
	in.EndpointSlices = append(in.EndpointSlices, made.EndpointSlices...)
}

// secretsAmong finds Secrets in files, then in a cluster.
func secretsAmong(files []Text, namespace string, around survey.Secrets) survey.Secrets {
	mine := map[ref]*core.Secret{}
	for _, f := range files {
		docs := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(f.Content)))
		for doc, err := docs.Read(); err == nil; doc, err = docs.Read() {
			var s core.Secret
			if yaml.Unmarshal(doc, &s) != nil || s.APIVersion != "v1" || s.Kind != "Secret" {
				continue
			}
			if s.Namespace == "" {
				s.Namespace = namespace
			}
			mine[ref{"Secret", s.Namespace, s.Name}] = &s
		}
	}
	return func(namespace, name string) (*core.Secret, bool) {
		if s := mine[ref{"Secret", namespace, name}]; s != nil {
			return s, true
		}
		if around == nil {
			return nil, false
		}
		return around(namespace, name)
	}
}
