package istioapi

import (
	"cmp"
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// mirroring is what a route says of mirrors, field by field. Nil: not given.
type mirroring struct {
	one            *model.Destination // mirror
	share, percent *float64           // of one: mirrorPercentage, and mirrorPercent, which counts where the former is not given
	more           []*model.Mirror    // mirrors; nil: not given
}

func (m mirroring) given() bool {
	return m.one != nil || m.share != nil || m.percent != nil || m.more != nil
}

// lacks reports whether there is a share of nothing.
func (m mirroring) lacks() bool { return m.one == nil && (m.share != nil || m.percent != nil) }

// field is the one that says the share.
func (m mirroring) field() string {
	if m.share != nil {
		return ".mirrorPercentage"
	}
	return ".mirrorPercent"
}

// under is m where the route says nothing else.
func (m mirroring) under(own mirroring) mirroring {
	return mirroring{cmp.Or(own.one, m.one), cmp.Or(own.share, m.share), cmp.Or(own.percent, m.percent), orMirrors(own.more, m.more)}
}

func orMirrors(own, root []*model.Mirror) []*model.Mirror {
	if own != nil {
		return own
	}
	return root
}

// all are the mirrors that get anything.
func (m mirroring) all() []*model.Mirror {
	var out []*model.Mirror
	if m.one != nil {
		share := 100.0
		if own := cmp.Or(m.share, m.percent); own != nil {
			share = *own
		}
		out = append(out, &model.Mirror{Destination: *m.one, Percent: share})
	}
	return slices.DeleteFunc(append(out, m.more...), func(m *model.Mirror) bool { return m.Percent == 0 })
}

// mirroring reads mirrors and the older mirror with its percentage.
func (r *reader) mirroring(path string, h *networking.HTTPRoute) mirroring {
	var out mirroring
	if h.Mirror != nil {
		if len(h.Mirrors) > 0 {
			r.Errorf(path+".mirror", "only one of mirror and mirrors may be given")
		}
		out.one = r.mirrored(path+".mirror", h.Mirror)
	}
	if h.MirrorPercentage != nil {
		out.share = r.share(path+".mirrorPercentage.value", h.MirrorPercentage.Value)
	}
	//lint:ignore SA1019 people still write it
	if older := h.GetMirrorPercent(); older != nil {
		out.percent = r.share(path+".mirrorPercent", float64(older.Value))
	}
	for i, m := range h.Mirrors {
		p, share := r.at(path+".mirrors", i), 100.0
		if m.Percentage != nil {
			share = r.percent(p+".percentage.value", m.Percentage.Value)
		}
		out.more = append(out.more, &model.Mirror{Destination: *r.mirrored(p+".destination", m.Destination), Percent: share})
	}
	return out
}

func (r *reader) mirrored(path string, d *networking.Destination) *model.Destination {
	out := r.destination(path, d)
	out.Weight = 1
	return out
}

func (r *reader) share(path string, v float64) *float64 {
	out := r.percent(path, v)
	return &out
}
