package mesh

import (
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/wrapperspb"
	meshapi "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var proxyConfigFields = fields.New("{selector.matchLabels,concurrency,environmentVariables,image.imageType}")

// ProxyConfig translates an object of that kind.
func ProxyConfig(o *inputs.ProxyConfig) (*model.ProxyConfig, []report.Issue) {
	log := &report.Log{}
	for _, p := range o.Problems {
		log.Errorf(p.Path, "%s", p.Reason)
	}
	proxyConfigFields.Check(o.Spec, "spec", log)
	out := &model.ProxyConfig{From: model.Name{Namespace: o.Namespace, Name: o.Name}}
	if s := o.Spec.Selector; s != nil {
		out.Selector = values.Selector(log, "spec.selector.matchLabels", s.MatchLabels)
	}
	out.Concurrency = concurrency(log.Errorf, "spec.concurrency", o.Spec.Concurrency)
	out.Environment = environment(log.Errorf, "spec.environmentVariables", o.Spec.EnvironmentVariables)
	image(log.Errorf, "spec.image.imageType", o.Spec.GetImage().GetImageType())
	return out, log.Issues
}

// defaultProxy reads what defaultConfig says of how proxies run, and whether they answer DNS questions.
func defaultProxy(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) (out model.ProxyConfig) {
	const path = "mesh.defaultConfig."
	p := c.GetDefaultConfig()
	out.Concurrency = concurrency(log.Partialf, path+"concurrency", p.GetConcurrency())
	if h := p.GetHoldApplicationUntilProxyStarts(); h != nil {
		out.Hold = &h.Value
	}
	out.TerminationDrain = positive(log, path+"terminationDrainDuration", p.GetTerminationDrainDuration())
	out.RestartDrain = positive(log, path+"drainDuration", p.GetDrainDuration())
	image(log.Partialf, path+"image.imageType", p.GetImage().GetImageType())
	out.Environment = environment(log.Partialf, path+"proxyMetadata", p.GetProxyMetadata())
	for name, to := range map[string]func(bool){
		wire.EnvDNSCapture:      func(v bool) { m.DNSCapture = v },
		wire.EnvDNSAutoAllocate: func(v bool) { m.DNSUnallocated = !v },
		wire.EnvOnDemand:        func(v bool) { m.OnDemand = v },
	} {
		if text, said := out.Environment[name]; said {
			to(text == "true")
			delete(out.Environment, name)
		}
	}
	if len(out.Environment) == 0 {
		out.Environment = nil
	}
	return out
}

// refuse records that a field is not in force.
type refuse func(path, format string, args ...any)

func concurrency(no refuse, path string, n *wrapperspb.Int32Value) *int32 {
	if n == nil {
		return nil
	}
	if n.Value < 0 {
		no(path, "%d: negative", n.Value)
		return nil
	}
	return &n.Value
}

// environment keeps the variables that proxies read. What captures DNS is true or false.
func environment(no refuse, path string, said map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		at, text := path+"["+name+"]", said[name]
		switch {
		case !wire.ProxyEnvironment(name):
			no(at, "not implemented by this version: proxies read no variable of this name")
		case name == wire.EnvDNSCapture || name == wire.EnvDNSAutoAllocate || name == wire.EnvOnDemand:
			value, err := strconv.ParseBool(text)
			if err != nil {
				no(at, "%q is neither true nor false", text)
				continue
			}
			out[name] = strconv.FormatBool(value)
		default:
			out[name] = text
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// image refuses kinds of images that there are not: the one that there is has nothing but the proxy in it.
func image(no refuse, path, kind string) {
	if !slices.Contains([]string{"", "default", "distroless"}, kind) {
		no(path, "%q: there is one image, which is distroless", kind)
	}
}
