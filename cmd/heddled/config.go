package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// config is everything that heddled is told from outside.
type config struct {
	kubeconfig  string // empty: the pod's own account
	podName     string
	namespace   string
	logLevel    string
	traces      string // OTLP receiver of heddled's own spans
	trustDomain string
	domain      string // of the cluster
	clusterID   string
	audience    string
	certTTL     time.Duration
	maxCertTTL  time.Duration
	proxy       proxyConfig
}

// proxyConfig is what injected proxies get.
type proxyConfig struct {
	image      string
	pullPolicy core.PullPolicy
	logLevel   string
	drain      time.Duration
	native     string // true | false | auto
	resources  core.ResourceRequirements
}

// Values of --proxy-native.
const (
	nativeAuto  = "auto"
	nativeTrue  = "true"
	nativeFalse = "false"
)

// Defaults of durations.
const (
	defaultCertTTL = 24 * time.Hour
	defaultDrain   = 45 * time.Second
)

// parse reads the command line and, for what only the pod knows, the environment.
func parse(args []string, env func(string) string) (config, error) {
	c := config{podName: env(wire.EnvPodName), namespace: env(wire.EnvPodNamespace)}
	f := flag.NewFlagSet("heddled", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var pull, resources string
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig to use instead of the pod's service account")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.traces, "otlp-endpoint", "", "host:port of an OTLP/gRPC receiver for the control plane's own spans")
	f.StringVar(&c.trustDomain, "trust-domain", wire.DefaultTrustDomain, "trust domain of every identity")
	f.StringVar(&c.domain, "cluster-domain", wire.DefaultClusterDomain, "DNS domain of the cluster")
	f.StringVar(&c.clusterID, "cluster-id", wire.DefaultClusterID, "name of this cluster")
	f.StringVar(&c.audience, "token-audience", wire.TokenAudience, "audience of the tokens that prove workloads")
	f.DurationVar(&c.certTTL, "cert-ttl", defaultCertTTL, "life of certificates whose request names none, and that proxies ask for")
	f.DurationVar(&c.maxCertTTL, "max-cert-ttl", defaultCertTTL, "longest life that may be asked for")
	f.StringVar(&c.proxy.image, "proxy-image", "", "image of the proxy that is put into pods")
	f.StringVar(&pull, "proxy-image-pull-policy", string(core.PullIfNotPresent), "pull policy of that image")
	f.StringVar(&c.proxy.logLevel, "proxy-log-level", "info", "log level of proxies")
	f.DurationVar(&c.proxy.drain, "proxy-drain-duration", defaultDrain, "how long proxies drain")
	f.StringVar(&c.proxy.native, "proxy-native", nativeAuto, "native sidecars: true, false or auto")
	f.StringVar(&resources, "proxy-resources", "{}", "resources of proxies, as JSON")
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
	c.proxy.pullPolicy = core.PullPolicy(pull)
	if err := json.Unmarshal([]byte(resources), &c.proxy.resources); err != nil {
		return c, fmt.Errorf("reading --proxy-resources: %w", err)
	}
	return c, c.check()
}

func (c *config) check() error {
	if c.namespace == "" {
		c.namespace = wire.SystemNamespace
	}
	switch {
	case c.podName == "":
		return fmt.Errorf("environment variable %s: it must name this pod", wire.EnvPodName)
	case c.proxy.image == "":
		return errors.New("--proxy-image: it must name the proxy's image")
	case !slices.Contains([]string{nativeAuto, nativeTrue, nativeFalse}, c.proxy.native):
		return fmt.Errorf("--proxy-native %q: it is none of true, false, auto", c.proxy.native)
	case !slices.Contains([]core.PullPolicy{core.PullAlways, core.PullIfNotPresent, core.PullNever}, c.proxy.pullPolicy):
		return fmt.Errorf("--proxy-image-pull-policy %q: it is none of Always, IfNotPresent, Never", c.proxy.pullPolicy)
	case c.certTTL <= 0 || c.maxCertTTL < c.certTTL:
		return fmt.Errorf("--cert-ttl %s: it must be positive and at most --max-cert-ttl %s", c.certTTL, c.maxCertTTL)
	}
	return nil
}
