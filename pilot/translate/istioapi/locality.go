package istioapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// Locality reads a localityLbSetting, of a DestinationRule or of the mesh; nil stays nil.
func Locality(log *report.Log, path string, s *networking.LocalityLoadBalancerSetting) *model.LocalityPolicy {
	if s == nil {
		return nil
	}
	out := &model.LocalityPolicy{Off: s.Enabled != nil && !s.Enabled.Value}
	given := 0
	for _, n := range []int{len(s.Distribute), len(s.Failover), len(s.FailoverPriority)} {
		given += min(n, 1)
	}
	if given > 1 {
		log.Errorf(path, "only one of distribute, failover and failoverPriority may be given")
	}
	for i, d := range s.Distribute {
		out.Distribute = append(out.Distribute, distribution(log, fields.At(path+".distribute", i), d, out.Distribute))
	}
	for i, f := range s.Failover {
		out.Failover = append(out.Failover, failover(log, fields.At(path+".failover", i), f, out.Failover))
	}
	for i, text := range s.FailoverPriority {
		out.Labels = append(out.Labels, labelPreference(log, fields.At(path+".failoverPriority", i), text))
	}
	if out.Off {
		return &model.LocalityPolicy{Off: true}
	}
	return out
}

func distribution(log *report.Log, path string, d *networking.LocalityLoadBalancerSetting_Distribute, before []*model.Distribution) *model.Distribution {
	out := &model.Distribution{From: localityPattern(log, path+".from", d.GetFrom())}
	if slices.ContainsFunc(before, func(o *model.Distribution) bool { return o.From == out.From }) {
		log.Errorf(path+".from", "%q is there twice", d.GetFrom())
	}
	sum := uint64(0)
	for _, text := range slices.Sorted(maps.Keys(d.GetTo())) {
		share := model.LocalityShare{At: localityPattern(log, fmt.Sprintf("%s.to[%s]", path, text), text), Percent: d.To[text]}
		if share.Percent == 0 {
			log.Errorf(fmt.Sprintf("%s.to[%s]", path, text), "a percentage between 1 and 100 expected")
		}
		for _, o := range out.To {
			if overlap(o.At, share.At) {
				log.Errorf(fmt.Sprintf("%s.to[%s]", path, text), "another share is for some of the same localities")
				break
			}
		}
		sum += uint64(share.Percent)
		out.To = append(out.To, share)
	}
	if sum != 100 {
		log.Errorf(path+".to", "the percentages sum to %d, not to 100", sum)
	}
	return out
}

// overlap reports whether a locality may match both.
func overlap(a, b model.LocalityPattern) bool {
	either := func(a, b string) bool { return a == "" || b == "" || a == b }
	return either(a.Region, b.Region) && either(a.Zone, b.Zone) && either(a.Subzone, b.Subzone)
}

// localityPattern reads "region/zone/subzone", each part of which may be "*", and parts from the end missing.
func localityPattern(log *report.Log, path, text string) model.LocalityPattern {
	parts := strings.Split(text, "/")
	if text == "" || len(parts) > 3 {
		log.Errorf(path, "%q: region/zone/subzone expected", text)
	}
	open := false
	for i, p := range parts {
		switch {
		case text == "":
		case p == "*":
			open, parts[i] = true, ""
		case p == "" || strings.Contains(p, "*"):
			log.Errorf(path, "%q: region/zone/subzone expected, with whole parts that may be *", text)
		case open:
			log.Errorf(path, "%q: after * nothing may follow but *", text)
		}
	}
	l := values.Locality(strings.Join(parts, "/"))
	return model.LocalityPattern(l)
}

func failover(log *report.Log, path string, f *networking.LocalityLoadBalancerSetting_Failover, before []model.RegionFailover) model.RegionFailover {
	out := model.RegionFailover{From: f.GetFrom(), To: f.GetTo()}
	for _, p := range []struct{ field, region string }{{".from", out.From}, {".to", out.To}} {
		if p.region == "" || strings.ContainsAny(p.region, "/*") {
			log.Errorf(path+p.field, "%q: a region expected", p.region)
		}
	}
	if out.From == out.To && out.From != "" {
		log.Errorf(path, "%q cannot come after itself", out.From)
	}
	if slices.ContainsFunc(before, func(o model.RegionFailover) bool { return o.From == out.From }) {
		log.Errorf(path+".from", "%q is there twice", out.From)
	}
	return out
}

func labelPreference(log *report.Log, path, text string) model.LabelPreference {
	key, value, given := strings.Cut(text, "=")
	if key == "" {
		log.Errorf(path, `%q: "key" or "key=value" expected`, text)
	}
	return model.LabelPreference{Key: key, Value: value, Given: given}
}

// inertLocality warns of an order of endpoints that nothing makes use of.
func (r *reader) inertLocality(path string, p *networking.TrafficPolicy) {
	s := p.GetLoadBalancer().GetLocalityLbSetting()
	judged := p.OutlierDetection != nil || r.Mesh.Baseline != nil && r.Mesh.Baseline.Outlier != nil
	if path == "spec.trafficPolicy" && !judged && cmp.Or(len(s.GetFailover()), len(s.GetFailoverPriority())) > 0 {
		r.Warnf(path+".loadBalancer.localityLbSetting", "without effect for ports and subsets without outlierDetection")
	}
}
