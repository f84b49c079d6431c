package translate

import (
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// rival is an object of a kind of which one speaks for a workload.
type rival struct {
	from     model.Name
	selector model.Selector
}

// rivals are the objects of such kinds, by kind and namespace, the oldest first.
func rivals(s *model.Snapshot) map[string][]rival {
	out := map[string][]rival{}
	add := func(kind string, from model.Name, selector model.Selector) {
		key := kind + "/" + from.Namespace
		out[key] = append(out[key], rival{from, selector})
	}
	for _, o := range s.Sidecars {
		add("Sidecar", o.From, o.Selector)
	}
	for _, o := range s.PeerAuthentications {
		add("PeerAuthentication", o.From, o.Selector)
	}
	for _, o := range s.Telemetries {
		if o.Selector == nil { // all that select a workload count
			add("Telemetry", o.From, nil)
		}
	}
	for _, o := range s.ProxyConfigs {
		add("ProxyConfig", o.From, o.Selector)
	}
	return out
}

// selectedBefore warns of an object that has no effect, since an older one of its kind selects every workload that it selects itself. A
// selector is more particular than none, and never stands behind an object without.
func (c *Checker) selectedBefore(log *report.Log, o inputs.Object, path string, own map[string]string) {
	for _, older := range c.rivals[RefOf(o).Kind+"/"+o.GetNamespace()] {
		switch {
		case older.from == nameOf(o):
			return
		case (len(own) == 0) != (len(older.selector) == 0):
		case len(own) == 0:
			log.Conflictf(report.Warning, "spec", "without effect: %s is older and also for the whole namespace", older.from)
			log.As(rivalCode(o, report.SharedSidecarDefault))
			return
		case older.selector.Matches(own):
			log.Conflictf(report.Warning, path, "without effect: %s is older and selects every workload that has these labels", older.from)
			log.As(rivalCode(o, report.SharedSidecarLabels))
			return
		}
	}
}

// rivalCode is the code of an object without effect: Sidecars have their own.
func rivalCode(o inputs.Object, sidecars report.Code) report.Code {
	if _, ok := o.(*inputs.Sidecar); ok {
		return sidecars
	}
	return report.Ineffective
}
