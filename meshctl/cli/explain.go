package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/analyze"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/describe"
	"github.com/heddle-mesh/heddle/meshctl/explain"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
	"github.com/heddle-mesh/heddle/meshctl/replica"
)

// objectFiles says where objects may be read.
const objectFiles = "YAML or JSON file, folder of such (and folders in it), or - for standard input"

func (a *app) explain() *cobra.Command {
	var files, headers []string
	var domain string
	var http2 bool
	c := &cobra.Command{
		Use:   "explain CLIENT METHOD URL [-H NAME:VALUE]...",
		Short: "Say what becomes of a request, and why",
		Long: "Say what becomes of a request, and why: which listener, filter chain, virtual host, rule, subset, cluster, endpoints, timeouts, retries, TLS\n" +
			"and policies apply on the client's side and on the server's, and why each earlier rule did not. Nothing is sent: the packages that route in\n" +
			"heddled and heddle-proxy decide, on the cluster's objects as they are now, or on those of files (-f).\n\n" +
			"CLIENT is POD, POD.NAMESPACE or deployment/NAME[.NAMESPACE] (or another kind of owner). If it is a gateway's pod, the request comes from\n" +
			"outside to that gateway. URL is http://host[:port]/path, or https:// where the client speaks TLS by itself; connections of bytes are\n" +
			"TCP tcp://host:port, or TLS tls://host:port.\n\n" +
			"Of files, a Deployment (or the like) counts as one ready pod, a Service gets an address and endpoints, and a namespace that no file has counts\n" +
			"as one with heddle-injection=enabled.\n\n" +
			"Exit code 0: it would succeed. 1: it would be refused, or has no destination, at least in part. 2: the command line is wrong, or there is no\n" +
			"such client.",
		Example: "  meshctl explain web.shop GET http://catalog/items -H x-user:ann\n" +
			"  meshctl explain deployment/web.shop POST http://catalog.shop:8080/items -o json\n" +
			"  meshctl explain deployment/ingress.gateways GET https://shop.example.com/\n" +
			"  meshctl explain -n shop web TCP tcp://db:5432\n" +
			"  meshctl explain -f manifests/ deployment/web.shop GET http://catalog/",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 3 {
				return fmt.Errorf("it takes CLIENT, METHOD and URL, not %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := explain.ParseRequest(args[1], args[2], headers, http2)
			if err != nil {
				return usageError{err}
			}
			m, namespace, err := a.replica(cmd.Context(), files, domain)
			if err != nil {
				return err
			}
			client, err := m.Find(args[0], namespace)
			if err != nil {
				return usageError{err}
			}
			e, err := explain.Explain(m, client, r)
			if err != nil {
				return err
			}
			if err := output.Print(a.out, a.format, e, e.Text); err != nil || e.Verdict.Succeeds {
				return err
			}
			return errRefused
		},
	}
	c.Flags().StringArrayVarP(&headers, "header", "H", nil, "a header of the request, as name:value (can be repeated)")
	c.Flags().BoolVar(&http2, "http2", false, "the client speaks HTTP/2")
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, objectFiles+", in place of the cluster (can be repeated)")
	clusterDomain(c, &domain)
	return a.formatted(c)
}

// clusterDomain adds the flag of the cluster's domain to a command that reads objects.
func clusterDomain(c *cobra.Command, domain *string) {
	c.Flags().StringVar(domain, "cluster-domain", "", "DNS domain of the cluster, in place of what the control plane says; of files, "+wire.DefaultClusterDomain+" unless said")
}

// defaults are those of an installation in a cluster of a domain; "": of the usual one.
func defaults(domain string) inject.Params {
	p := replica.Defaults()
	p.ClusterDomain = cmp.Or(domain, p.ClusterDomain)
	return p
}

// installation asks the control plane how it was installed. Where it cannot be asked, that is said, and the defaults count.
func (a *app) installation(ctx context.Context, cl *cluster.Cluster, domain string) inject.Params {
	p, err := proxy.ReadInjection(ctx, cl.Kube, forwarder(cl), "")
	if err != nil {
		fmt.Fprintf(a.err, "meshctl: an installation's defaults count, since the control plane cannot be asked: %v\n", err)
		return defaults(domain)
	}
	p = replica.Asked(p)
	p.ClusterDomain = cmp.Or(domain, p.ClusterDomain)
	return p
}

// replica is the mesh of files, or of the cluster where there are none, and the namespace of what names none. A domain is the cluster's, whatever is
// known of it otherwise.
func (a *app) replica(ctx context.Context, files []string, domain string) (*replica.Mesh, string, error) {
	if len(files) > 0 {
		texts, err := a.texts(files, true)
		if err != nil {
			return nil, "", err
		}
		all := make([]replica.Text, len(texts))
		for i, t := range texts {
			all[i] = replica.Text(t)
		}
		in, err := replica.FromFiles(all, a.namespace(), defaults(domain))
		if err != nil {
			return nil, "", err
		}
		m, err := replica.New(in)
		return m, a.namespace(), err
	}
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, "", err
	}
	in, err := analyze.FromCluster(ctx, cl.Kube, cl.Dynamic)
	if err == nil {
		err = replica.AddRunning(ctx, cl.Kube, in)
	}
	if err != nil {
		return nil, "", err
	}
	params := a.installation(ctx, cl, domain)
	replica.Installed(in, params)
	m, err := replica.New(in)
	if err != nil {
		return nil, "", err
	}
	m.Injection = params
	return m, cl.Namespace, nil
}

func (a *app) describe() *cobra.Command {
	c := &cobra.Command{
		Use:   "describe",
		Short: "Say what applies to a pod or a service",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	pod := a.described("pod", "NAME is POD, POD.NAMESPACE or deployment/NAME[.NAMESPACE].", func(m *replica.Mesh, name, namespace string) (described, error) {
		p, err := m.Find(name, namespace)
		if err != nil {
			return nil, usageError{err}
		}
		return describe.Pod(m, p), nil
	})
	service := a.described("service", "NAME is SERVICE, SERVICE.NAMESPACE or a host of a ServiceEntry.", func(m *replica.Mesh, name, namespace string) (described, error) {
		s, err := describe.FindService(m, name, namespace)
		if err != nil {
			return nil, usageError{err}
		}
		return describe.Service(m, s), nil
	})
	service.Aliases = []string{"svc"}
	c.AddCommand(pod, service)
	return c
}

// described is what can be printed for people.
type described interface{ Text(w io.Writer) error }

func (a *app) described(kind, names string, find func(m *replica.Mesh, name, namespace string) (described, error)) *cobra.Command {
	var files []string
	var domain string
	c := &cobra.Command{
		Use:     kind + " NAME",
		Short:   "Say what applies to a " + kind,
		Long:    "Say what applies to a " + kind + ", in the cluster or in files (-f), and what about it is probably wrong. " + names,
		Example: "  meshctl describe " + kind + " catalog.shop\n  meshctl describe " + kind + " catalog -n shop -f manifests/",
		Args:    one("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, namespace, err := a.replica(cmd.Context(), files, domain)
			if err != nil {
				return err
			}
			d, err := find(m, args[0], namespace)
			if err != nil {
				return err
			}
			return output.Print(a.out, a.format, d, d.Text)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, objectFiles+", in place of the cluster (can be repeated)")
	clusterDomain(c, &domain)
	return a.formatted(c)
}
