package tour

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/heddle-mesh/heddle/api/wire"
)

// where chooses series by labels.
type where map[string]string

// Metric sums a counter over the pods that a selector chooses and the series that match.
func (c *Cluster) Metric(ctx context.Context, namespace, selector, name string, match where) (float64, error) {
	pods, err := c.Pods(ctx, namespace, selector)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for i := range pods {
		v, err := c.podMetric(ctx, &pods[i], name, match)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}

func (c *Cluster) podMetric(ctx context.Context, p *corev1.Pod, name string, match where) (float64, error) {
	raw, err := c.kube.CoreV1().RESTClient().Get().Namespace(p.Namespace).Resource("pods").
		Name(fmt.Sprintf("%s:%d", p.Name, wire.PortStatus)).SubResource("proxy").Suffix(wire.PathPrometheus).DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("scraping %s/%s: %w", p.Namespace, p.Name, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		return 0, fmt.Errorf("parsing metrics of %s/%s: %w", p.Namespace, p.Name, err)
	}
	total := 0.0
	for _, m := range families[name].GetMetric() {
		if matches(m, match) {
			total += m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return total, nil
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

// reach waits until a metric has grown from before to before+n, and fails where it passes it.
func (c *Cluster) reach(ctx context.Context, namespace, selector, name string, match where, want float64) error {
	return eventually(ctx, 10*time.Second, func(ctx context.Context) error {
		got, err := c.Metric(ctx, namespace, selector, name, match)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s%v is %v, want %v", name, match, got, want)
		}
		return nil
	})
}
