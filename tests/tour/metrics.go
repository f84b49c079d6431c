package tour

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/heddle-mesh/heddle/api/wire"
)

// where chooses series by labels.
type where = map[string]string

// Metric sums a counter over the pods that a selector chooses and the series that match. Of a histogram NAME, NAME_count and NAME_sum can be asked for.
func (c *Cluster) Metric(ctx context.Context, namespace, selector, name string, match where) (float64, error) {
	pods, err := c.Pods(ctx, namespace, selector)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for i := range pods {
		v, _, err := c.PodMetric(ctx, &pods[i], name, match)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}

// PodMetric is Metric of one pod, and says how many series match.
func (c *Cluster) PodMetric(ctx context.Context, p *corev1.Pod, name string, match where) (total float64, series int, err error) {
	raw, err := c.kube.CoreV1().RESTClient().Get().Namespace(p.Namespace).Resource("pods").
		Name(fmt.Sprintf("%s:%d", p.Name, wire.PortStatus)).SubResource("proxy").Suffix(wire.PathPrometheus).DoRaw(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("scraping %s/%s: %w", p.Namespace, p.Name, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		return 0, 0, fmt.Errorf("parsing metrics of %s/%s: %w", p.Namespace, p.Name, err)
	}
	family, value := families[name], func(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetUntyped().GetValue() }
	if base, ok := strings.CutSuffix(name, "_count"); ok && families[base] != nil {
		family, value = families[base], func(m *dto.Metric) float64 { return float64(m.GetHistogram().GetSampleCount()) }
	}
	if base, ok := strings.CutSuffix(name, "_sum"); ok && families[base] != nil {
		family, value = families[base], func(m *dto.Metric) float64 { return m.GetHistogram().GetSampleSum() }
	}
	for _, m := range family.GetMetric() {
		if matches(m, match) {
			series++
			total += value(m)
		}
	}
	return total, series, nil
}

func matches(m *dto.Metric, match where) bool {
	found := 0
	for _, l := range m.GetLabel() {
		if v, ok := match[l.GetName()]; ok {
			if v != l.GetValue() {
				return false
			}
			found++
		}
	}
	return found == len(match)
}

// reach waits until a metric is want, and fails where it is not.
func (c *Cluster) reach(ctx context.Context, selector, name string, match where, want float64) error {
	return eventually(ctx, 10*time.Second, func(ctx context.Context) error {
		got, err := c.Metric(ctx, ShopNamespace, selector, name, match)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s%v is %v, want %v", name, match, got, want)
		}
		return nil
	})
}

// scrapes prints the command by which a reader sees what the pods of the shop count.
func (s *Stage) scrapes(selector, name string) {
	s.Ran("for p in $(kubectl -n %[1]s get pods -l %[2]s -o name); do kubectl get --raw /api/v1/namespaces/%[1]s/pods/${p#pod/}:%[3]d/proxy%[4]s | grep ^%[5]s; done",
		ShopNamespace, selector, wire.PortStatus, wire.PathPrometheus, name)
}

// gauge is a metric of the shop's pods, and what it was before.
type gauge struct {
	selector, name string
	match          where
	before         float64
}

// gauges reads several metrics with the same labels.
func (c *Cluster) gauges(ctx context.Context, selector string, match where, names ...string) ([]gauge, error) {
	out := make([]gauge, 0, len(names))
	for _, name := range names {
		v, err := c.Metric(ctx, ShopNamespace, selector, name, match)
		if err != nil {
			return nil, err
		}
		out = append(out, gauge{selector, name, maps.Clone(match), v})
	}
	return out, nil
}

// grown waits until the metric has grown by n, no more and no less.
func (c *Cluster) grown(ctx context.Context, g gauge, n float64) error {
	return c.reach(ctx, g.selector, g.name, g.match, g.before+n)
}
