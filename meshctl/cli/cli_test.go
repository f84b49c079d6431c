package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/meshctl/check"
)

// run executes a command line against no cluster at all.
func run(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), "v1.2.3", append(args, "--kubeconfig", os.DevNull), Streams{In: strings.NewReader(stdin), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestExitCodes(t *testing.T) {
	above := t.TempDir()
	bad := filepath.Join(above, "within", "bad.yaml")
	if err := os.Mkdir(filepath.Dir(bad), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], wrong: 1}\n"
	if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for line, c := range map[string]struct {
		code int
		says string // on the error stream
	}{
		"version --client":                         {ExitOK, ""},
		"version":                                  {ExitNoCluster, "no cluster: there is no kubeconfig"},
		"install":                                  {ExitNoCluster, "no cluster"},
		"uninstall --force --purge":                {ExitNoCluster, "no cluster"},
		"check":                                    {ExitNoCluster, "no cluster"},
		"proxy-status":                             {ExitNoCluster, "no cluster"},
		"proxy-config routes a":                    {ExitNoCluster, "no cluster"},
		"proxy-config routes":                      {ExitUsage, "proxy-config routes: it takes one PROXY, not 0"},
		"proxy-config routes a -f b":               {ExitFailed, "no such file"},
		"proxy-config routes a b -f c":             {ExitUsage, "proxy-config routes: it takes one PROXY, not 2"},
		"proxy-config routes -f a -f b":            {ExitUsage, "proxy-config routes: it takes one config dump, not 2"},
		"proxy-config routes -f /no/file":          {ExitFailed, "no such file"},
		"proxy-config names -f -":                  {ExitFailed, "config dumps have no names"},
		"proxy-config routes a --cluster-domain b": {ExitUsage, "proxy-config routes: --cluster-domain is for the objects of files"},
		"proxy-config bogus":                       {ExitUsage, `"bogus" is none of all, bootstrap, clusters, endpoints`},
		"proxy-status -f a":                        {ExitUsage, "this asks a running mesh, and reads no files"},
		"tag list -f a":                            {ExitUsage, "this asks a running mesh, and reads no files"},
		"proxy-status a":                           {ExitUsage, `proxy-status: it takes no argument, not "a"`},
		"completion tcsh":                          {ExitUsage, `"tcsh" is none of bash`},
		"proxy-config log a --level x":             {ExitUsage, "none of debug"},
		"install --no-such-flag":                   {ExitUsage, "unknown flag"},
		"install --set a":                          {ExitUsage, "--set a"},
		"install -f /no/such/file":                 {ExitFailed, "no such file"},
		"version --client -o xml":                  {ExitUsage, "none of text, json, yaml"},
		"analyze -f " + bad:                        {ExitFound, ""},
		"analyze -f " + filepath.Dir(bad):          {ExitFound, ""},
		"analyze -f " + above:                      {ExitFailed, "holds no .yaml, .yml or .json file itself; -R reads the folders within it"},
		"analyze -R -f " + above:                   {ExitFound, ""},
		"analyze -R -f " + empty:                   {ExitFailed, "holds no .yaml, .yml or .json file\n"},
		"inject":                                   {ExitUsage, "name a file"},
		"gateway install":                          {ExitUsage, "it takes one NAME"},
		"nonsense":                                 {ExitUsage, `meshctl: "nonsense" is none of analyze`},
		"explain a GET http://b":                   {ExitNoCluster, "no cluster"},
		"explain a GET":                            {ExitUsage, "explain: it takes CLIENT, METHOD and URL, not 2"},
		"explain a GET ftp://b":                    {ExitUsage, "none of http, https, tcp, tls"},
		"explain a GET http://b -H c":              {ExitUsage, "want name:value"},
		"describe pod":                             {ExitUsage, "describe pod: it takes one NAME, not 0"},
		"describe node":                            {ExitUsage, `"node" is none of pod, service`},
		"describe svc a":                           {ExitNoCluster, "no cluster"},
		"completion bash":                          {ExitOK, ""},
		"install --revision canary":                {ExitNoCluster, "no cluster"},
		"uninstall --revision canary":              {ExitNoCluster, "no cluster"},
		"tag":                                      {ExitOK, ""},
		"tag bogus":                                {ExitUsage, `"bogus" is none of generate, list, remove, set`},
		"tag set prod":                             {ExitUsage, "tag set: name a revision with --revision"},
		"tag set --revision canary":                {ExitUsage, "tag set: it takes one TAG, not 0"},
		"tag set prod --revision canary":           {ExitNoCluster, "no cluster"},
		"tag generate prod":                        {ExitUsage, "tag generate: name a revision with --revision"},
		"tag list":                                 {ExitNoCluster, "no cluster"},
		"tag remove prod":                          {ExitNoCluster, "no cluster"},
		"inject -f /no/file --image x":             {ExitFailed, "no such file"},
		"analyze -f /no/file":                      {ExitFailed, "no such file"},
		"gateway":                                  {ExitOK, ""},
		"help":                                     {ExitOK, ""},
		"help gateway install":                     {ExitOK, ""},
		"help bogus":                               {ExitUsage, `help: "bogus" is none of analyze`},
		"help gateway bogus":                       {ExitUsage, `help: "bogus" is none of install, uninstall`},
		"help version more":                        {ExitUsage, `help: version has no command "more"`},
	} {
		code, _, errs := run(t, "", strings.Fields(line)...)
		if code != c.code || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") > 1 || strings.HasPrefix(errs, "meshctl: meshctl") {
			t.Errorf("%s: exit code %d, want %d; said %q, want one sentence with %q", line, code, c.code, errs, c.says)
		}
	}
}

func TestAnalyzeTakesTheNamespaceOfTheFlags(t *testing.T) {
	text := "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], wrong: 1}\n"
	for args, want := range map[string]string{"": "default/a", "-n shop": "shop/a"} {
		code, out, errs := run(t, text, append([]string{"analyze", "-f", "-"}, strings.Fields(args)...)...)
		if code != ExitFound || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d, want %s in\n%s%s", args, code, want, out, errs)
		}
	}
}

// TestTheClustersDomain is part of the names in files, where it is said.
func TestTheClustersDomain(t *testing.T) {
	text := "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{name: http, port: 80}]}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: a}}\nspec: {containers: [{name: app}]}\n---\n" +
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [x.example.com], http: [{route: [{destination: {host: a.default.svc.k8s.example.org}}]}]}\n"
	for line, wants := range map[string][2]string{ // with the usual domain, and with the cluster's
		"analyze":                 {"a.default.svc.k8s.example.org", "nothing to say"},
		"explain p GET http://a":  {"a.default.svc.cluster.local", "a.default.svc.k8s.example.org"},
		"describe service a":      {"a.default.svc.cluster.local", "a.default.svc.k8s.example.org"},
		"proxy-config clusters p": {"a.default.svc.cluster.local", "a.default.svc.k8s.example.org"},
	} {
		for i, flags := range [][]string{nil, {"--cluster-domain", "k8s.example.org"}} {
			_, out, errs := run(t, text, slices.Concat(strings.Fields(line), []string{"-f", "-"}, flags)...)
			if !strings.Contains(out, wants[i]) {
				t.Errorf("%s %s: want %s in\n%s%s", line, flags, wants[i], out, errs)
			}
		}
	}
}

func TestHelpShowsWhatIsOurs(t *testing.T) {
	code, out, _ := run(t, "", "install", "--help")
	if code != ExitOK || !strings.Contains(out, "--set ") || !strings.Contains(out, "--context") || strings.Contains(out, "--tls-server-name") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, _, errs := run(t, "", "version", "--client", "--tls-server-name", "a"); code != ExitOK {
		t.Errorf("a flag of kubectl: exit code %d, %s", code, errs)
	}
}

func TestInjectReadsStandardInput(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: app, image: app}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
	code, out, errs := run(t, pod, "inject", "-f", "-", "--image", "registry/proxy:1")
	if code != ExitOK || !strings.Contains(out, "image: registry/proxy:1") || !strings.Contains(out, "kind: Service") || errs != "" {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}

func TestInjectSaysThatThereWasNothing(t *testing.T) {
	code, out, errs := run(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "inject", "-f", "-", "--image", "registry/proxy:1")
	if code != ExitOK || !strings.Contains(out, "kind: Service") || errs != "nothing injected: no object of the file makes pods\n" {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}

func TestVersionsAreThoseOfImages(t *testing.T) {
	pod := func(namespace, name, container, image string, phase core.PodPhase) *core.Pod {
		return &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name}, Status: core.PodStatus{Phase: phase},
			Spec: core.PodSpec{InitContainers: []core.Container{{Name: container, Image: image}}}}
	}
	kube := fake.NewClientset(
		pod("heddle-system", "h", "heddled", "r:5000/heddled:v2", core.PodRunning),
		pod("shop", "a", "heddle-proxy", "r/heddle-proxy:v1", core.PodRunning),
		pod("shop", "b", "heddle-proxy", "r/heddle-proxy:v1@sha256:1", core.PodRunning),
		pod("shop", "c", "heddle-proxy", "r:5000/heddle-proxy", core.PodRunning),
		pod("shop", "d", "heddle-proxy", "r/heddle-proxy:v0", core.PodSucceeded),
		revised(pod("heddle-system", "hc", "heddled", "r/heddled:v3", core.PodRunning), map[string]string{"heddle.io/rev": "canary"}, nil),
		revised(pod("shop", "e", "heddle-proxy", "r/heddle-proxy:v3", core.PodRunning), nil, map[string]string{"sidecar.heddle.io/status": `{"revision":"canary"}`}),
		revised(pod("edge", "g", "heddle-proxy", "r/heddle-proxy:v3", core.PodRunning), map[string]string{"heddle.io/rev": "canary"}, nil))
	v, err := readVersions(t.Context(), kube, "v2")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := v.table(&out); err != nil {
		t.Fatal(err)
	}
	const want = `PART                   VERSION   PODS
client                 v2        -
control plane          v2        1
data plane             latest    1
data plane             v1        2
control plane canary   v3        1
data plane canary      v3        2
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func revised(p *core.Pod, labels, annotations map[string]string) *core.Pod {
	p.Labels, p.Annotations = labels, annotations
	return p
}

func TestFindingsDecideTheExitCode(t *testing.T) {
	for level, want := range map[check.Level]int{check.OK: ExitOK, check.Warning: ExitOK, check.Error: ExitFound} {
		var out bytes.Buffer
		a := &app{out: &out, format: "json"}
		err := a.findings([]check.Finding{{Level: level, Check: "c", Message: "m"}})
		if exitCode(err) != want || !strings.Contains(out.String(), `"level": "`+string(level)+`"`) {
			t.Errorf("%s: exit code %d, want %d; printed %s", level, exitCode(err), want, out.String())
		}
	}
}

func TestValuesJoinAsInHelm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte("image: {registry: a, tag: b}\nreplicas: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := chartFlags{files: []string{path}, image: "r", set: []string{"replicas=1", "accessLog.enabled=true"}}
	v, err := f.values()
	if err != nil {
		t.Fatal(err)
	}
	image, access := v["image"].(map[string]any), v["accessLog"].(map[string]any)
	if image["registry"] != "r" || image["tag"] != "b" || v["replicas"] != int64(1) || access["enabled"] != true {
		t.Errorf("got %v", v)
	}
}

func TestProxyConfigOfAFile(t *testing.T) {
	const dump = `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","dynamic_active_clusters":[{"cluster":{"name":"a","type":"EDS"}}]}]}`
	for args, want := range map[string]string{"clusters": "a      -      -        -           EDS", "clusters -o json": `"dynamic_active_clusters": [`, "all -o yaml": "- '@type': type.googleapis.com"} {
		code, out, errs := run(t, dump, append([]string{"proxy-config"}, strings.Fields(args+" -f -")...)...)
		if code != ExitOK || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, want %s in\n%s%s", args, code, want, out, errs)
		}
	}
}

// folder is the sample shop with a canary.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"shop/namespaces.yaml", "shop/shop.yaml", "canary/subsets.yaml", "canary/90-10.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../samples", name))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestProxyConfigOfAFolder holds that what would be told is shown as what was told is, and that the dump can be read again.
func TestProxyConfigOfAFolder(t *testing.T) {
	dir := folder(t)
	for args, want := range map[string]struct {
		code int
		says []string
	}{
		"routes deploy/storefront-v1":             {ExitOK, []string{"90 outbound|8080|v1|catalog.shop.svc.cluster.local, 10 outbound|8080|v2|catalog.shop.svc.cluster.local   active"}},
		"listeners storefront-v1.shop":            {ExitOK, []string{"virtualOutbound", "virtualInbound", "routes 8080"}},
		"clusters storefront-v1 --name catalog":   {ExitOK, []string{"catalog.shop.svc.cluster.local   8080   v3"}},
		"endpoints storefront-v1":                 {ExitOK, []string{"spiffe://cluster.local/ns/shop/sa/catalog", "catalog-v2"}},
		"endpoints storefront-v1 -o json":         {ExitOK, []string{`"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump"`, `"dynamic_endpoint_configs"`}},
		"clusters storefront-v1 -o yaml":          {ExitOK, []string{"dynamic_active_clusters:"}},
		"names storefront-v1":                     {ExitOK, []string{"NAME", "ADDRESSES"}},
		"all storefront-v1":                       {ExitOK, []string{"HOST ", "CLUSTER ", "LISTENER ", "ROUTES "}},
		"bootstrap storefront-v1":                 {ExitFailed, []string{"objects do not say what bootstrap a proxy has: ask a proxy that runs"}},
		"secrets storefront-v1":                   {ExitFailed, []string{"objects do not say what secrets a proxy has"}},
		"routes nobody":                           {ExitFailed, []string{"there is no pod nobody in namespace shop"}},
		"log storefront-v1":                       {ExitUsage, []string{"unknown shorthand flag"}},
		"listeners deploy/ledger-v1 --name 9000 ": {ExitOK, []string{"9000"}},
	} {
		code, out, errs := run(t, "", append([]string{"proxy-config"}, strings.Fields(args+" -n shop -f "+dir)...)...)
		for _, says := range want.says {
			if code != want.code || !strings.Contains(out+errs, says) {
				t.Errorf("%s: exit code %d, want %d and %q in\n%s%s", args, code, want.code, says, out, errs)
			}
		}
	}
	_, dump, _ := run(t, "", "proxy-config", "all", "storefront-v1", "-n", "shop", "-f", dir, "-o", "json")
	if strings.Contains(dump, "SecretsConfigDump") || strings.Contains(dump, "BootstrapConfigDump") {
		t.Error("the dump tells of what objects do not decide")
	}
	_, table, _ := run(t, "", "proxy-config", "routes", "storefront-v1", "-n", "shop", "-f", dir)
	if code, again, errs := run(t, dump, "proxy-config", "routes", "-f", "-"); code != ExitOK || again != table {
		t.Errorf("exit code %d, read again the dump says\n%s%s\nnot\n%s", code, again, errs, table)
	}
}

func TestProxyConfigOfAPodWithoutAProxy(t *testing.T) {
	plain := "{apiVersion: v1, kind: Namespace, metadata: {name: plain}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: plain}, spec: {containers: [{name: a, image: a}]}}\n"
	if code, out, errs := run(t, plain, "proxy-config", "routes", "a.plain", "-f", "-"); code != ExitFailed || !strings.Contains(errs, "pod plain/a has no proxy") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// small is a mesh of two Deployments, one of which answers web only.
const small = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: a, image: a}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api}, spec: {template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [{name: a, image: a}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: api}, spec: {selector: {app: api}, ports: [{name: http, port: 80}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: api}, spec: {selector: {matchLabels: {app: api}}, rules: [{to: [{operation: {methods: [GET]}}]}]}}
`

func TestExplainAnswersByItsExitCode(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"explain -f - web GET http://api/":                              {ExitOK, "VERDICT  succeeds"},
		"explain -f - -n shop deployment/web.shop GET http://api.shop/": {ExitOK, "VERDICT  succeeds"},
		"explain -f - web POST http://api/":                             {ExitFailed, "VERDICT  fails (403 RBAC)"},
		"explain -f - web POST http://api/ -o json":                     {ExitFailed, `"flag": "RBAC"`},
		"explain -f - web GET http://nothing/ -o yaml":                  {ExitFailed, "succeeds: false"},
		"explain -f - nobody GET http://api/":                           {ExitUsage, "there is no pod nobody in namespace default"},
		"explain -f - me.mine GET http://api/":                          {ExitUsage, "there is neither pod me in namespace mine nor me.mine in namespace default; name it as"},
		"explain -f - deploy/me.mine GET http://api/":                   {ExitUsage, "there is neither pod of deploy me in namespace mine nor me.mine in namespace default"},
		"describe pod -f - web":                                         {ExitOK, "Pod web.default"},
		"describe service -f - api.default -o json":                     {ExitOK, `"service": "Service default/api"`},
		"describe service -f - nothing":                                 {ExitUsage, "there is no service nothing in namespace default"},
	} {
		code, out, errs := run(t, small, strings.Fields(line)...)
		if code != want.code || !strings.Contains(out+errs, want.says) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s%s", line, code, want.code, want.says, out, errs)
		}
	}
}
