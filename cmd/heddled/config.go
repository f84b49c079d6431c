package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/memory"
	"github.com/heddle-mesh/heddle/internal/revision"
)

// config is everything that heddled is told from outside.
type config struct {
	kubeconfig  string // empty: the pod's own account
	memory      memory.Limit
	podName     string
	namespace   string
	revision    string // empty: the default one
	logLevel    string
	traces      string // OTLP receiver of heddled's own spans
	trustDomain string
	aliases     []string // of trustDomain
	domain      string   // of the cluster
	clusterID   string
	audience    string
	certTTL     time.Duration
	maxCertTTL  time.Duration
	proxy       proxyConfig
	serve       addresses
	files       filesConfig
}

// addresses are where heddled listens, each host:port.
type addresses struct{ discovery, web, health, webhooks string }

func (a *addresses) register(f *flag.FlagSet) {
	f.StringVar(&a.discovery, "discovery-address", everywhere(wire.PortDiscovery), "where xDS and the CA are served")
	f.StringVar(&a.web, "monitoring-address", everywhere(wire.PortMonitoring), "where metrics and debug are served")
	f.StringVar(&a.health, "health-address", everywhere(wire.PortHealth), "where readiness is served")
	f.StringVar(&a.webhooks, "webhook-address", everywhere(wire.PortWebhook), "where webhooks are served; without effect with --config-dir")
}

// filesConfig is where heddled reads and keeps what it otherwise asks a cluster for.
type filesConfig struct {
	objects   string // folder of YAML; empty: there is a cluster
	authority string // folder of the mesh's root
	tokens    string // file of tokens
	names     []string
}

// register declares the flags of a heddled without Kubernetes.
func (c *filesConfig) register(f *flag.FlagSet) {
	f.StringVar(&c.objects, "config-dir", "", "folder of YAML files to read instead of a cluster; there is no injection, admission or status then")
	f.StringVar(&c.authority, "ca-dir", "", "with --config-dir: folder in which the mesh's root is kept, made at the first start; proxies find root-cert.pem in it")
	f.StringVar(&c.tokens, "token-file", "", "with --config-dir: file of lines \"token namespace pod\", by which pods prove themselves for their first certificate")
	f.Func("serving-names", "with --config-dir: DNS names of this heddled beside those of its Service, comma-separated", func(text string) error {
		c.names = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		return nil
	})
}

func (c *filesConfig) check() error {
	switch {
	case c.authority == "":
		return errors.New("--ca-dir: with --config-dir it must name the folder of the mesh's root")
	case c.tokens == "":
		return errors.New("--token-file: with --config-dir it must name the file by which pods prove themselves")
	}
	return nil
}

// proxyConfig is what injected proxies get.
type proxyConfig struct {
	image       string
	pullPolicy  core.PullPolicy
	pullSecrets []string
	logLevel    string
	drain       time.Duration
	native      string // true | false | auto
	resources   core.ResourceRequirements
	never       []meta.LabelSelector // of pods that are not injected, whatever their namespace says
	always      []meta.LabelSelector // of pods that are, unless their namespace opts out
	istioLabels bool                 // Istio's labels enrol, too
}

// Values of --proxy-native.
const (
	nativeAuto  = "auto"
	nativeTrue  = "true"
	nativeFalse = "false"
)

// parse reads the command line and, for what only the pod knows, the environment.
func parse(args []string, env func(string) string) (config, error) {
	c := config{podName: env(wire.EnvPodName), namespace: env(wire.EnvPodNamespace)}
	var err error
	if c.memory, err = memory.Read(env); err != nil {
		return c, err
	}
	f := flag.NewFlagSet("heddled", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	standard := inject.DefaultParams("", version)
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig to use instead of the pod's service account")
	f.StringVar(&c.revision, "revision", "", "name of this control plane where it is not the default one of its cluster")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.traces, "otlp-endpoint", "", "host:port of an OTLP/gRPC receiver for the control plane's own spans")
	f.StringVar(&c.trustDomain, "trust-domain", wire.DefaultTrustDomain, "trust domain of every identity")
	f.Func("trust-domain-aliases", "trust domains that the mesh had before, or is to have, comma-separated: its root and its workloads' certificates may be of these", func(text string) error {
		c.aliases = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		return nil
	})
	f.StringVar(&c.domain, "cluster-domain", wire.DefaultClusterDomain, "DNS domain of the cluster")
	f.StringVar(&c.clusterID, "cluster-id", wire.DefaultClusterID, "name of this cluster")
	f.StringVar(&c.audience, "token-audience", wire.TokenAudience, "audience of the tokens that prove workloads")
	f.DurationVar(&c.certTTL, "cert-ttl", standard.CertTTL, "life of certificates whose request names none, and that proxies ask for")
	f.DurationVar(&c.maxCertTTL, "max-cert-ttl", standard.CertTTL, "longest life that may be asked for")
	c.proxy.register(f, standard)
	c.serve.register(f)
	c.files.register(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(flag.CommandLine.Output())
			f.PrintDefaults()
		}
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return c, c.check()
}

// register declares the flags of what is put into pods.
func (c *proxyConfig) register(f *flag.FlagSet, standard inject.Params) {
	c.pullPolicy, c.resources = standard.PullPolicy, standard.Resources
	f.StringVar(&c.image, "proxy-image", "", "image of the proxy that is put into pods")
	f.Func("proxy-image-pull-policy", "pull policy of that image", func(text string) error {
		c.pullPolicy = core.PullPolicy(text)
		return nil
	})
	f.Func("proxy-image-pull-secrets", "names of Secrets to pull it with, comma-separated; each must be in the pod's own namespace", func(text string) error {
		c.pullSecrets = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		return nil
	})
	f.StringVar(&c.logLevel, "proxy-log-level", standard.LogLevel, "log level of proxies")
	f.DurationVar(&c.drain, "proxy-drain-duration", standard.DrainDuration, "how long proxies drain")
	f.StringVar(&c.native, "proxy-native", nativeAuto, "native sidecars: true, false or auto")
	f.Func("proxy-resources", "resources of proxies, as JSON", func(text string) error {
		c.resources = core.ResourceRequirements{}
		return json.Unmarshal([]byte(text), &c.resources)
	})
	f.BoolVar(&c.istioLabels, "istio-labels", false, "whether Istio's labels of namespaces and pods have pods injected, where Heddle's say nothing")
	f.Func("never-inject", "label selectors of pods that get no proxy though their namespace is labelled, as a JSON list", into(&c.never))
	f.Func("always-inject", "label selectors of pods that get a proxy though their namespace has no label, as a JSON list", into(&c.always))
}

// into reads a list of label selectors, and refuses what can select nothing.
func into(to *[]meta.LabelSelector) func(string) error {
	return func(text string) error {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(to); err != nil {
			return err
		}
		for i := range *to {
			selector, err := meta.LabelSelectorAsSelector(&(*to)[i])
			if err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
			if selector.Empty() {
				return fmt.Errorf("[%d]: it selects by nothing", i)
			}
		}
		return nil
	}
}

func (c *config) check() error {
	if c.namespace == "" {
		c.namespace = wire.SystemNamespace
	}
	if c.certTTL <= 0 || c.maxCertTTL < c.certTTL {
		return fmt.Errorf("--cert-ttl %s: it must be positive and at most --max-cert-ttl %s", c.certTTL, c.maxCertTTL)
	}
	if c.files.objects != "" {
		return c.files.check()
	}
	if c.revision != "" {
		if err := revision.Check(c.revision); err != nil {
			return fmt.Errorf("--revision: %w", err)
		}
	}
	switch {
	case c.revision == wire.DefaultRevision:
		return fmt.Errorf("--revision %s: the default revision has no name", c.revision)
	case c.podName == "":
		return fmt.Errorf("environment variable %s: it must name this pod", wire.EnvPodName)
	case c.proxy.image == "":
		return errors.New("--proxy-image: it must name the proxy's image")
	case !slices.Contains([]string{nativeAuto, nativeTrue, nativeFalse}, c.proxy.native):
		return fmt.Errorf("--proxy-native %q: it is none of true, false, auto", c.proxy.native)
	case !slices.Contains([]core.PullPolicy{core.PullAlways, core.PullIfNotPresent, core.PullNever}, c.proxy.pullPolicy):
		return fmt.Errorf("--proxy-image-pull-policy %q: it is none of Always, IfNotPresent, Never", c.proxy.pullPolicy)
	}
	return nil
}
