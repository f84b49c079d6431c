package istioapi

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func (r *reader) headers(path string, h *networking.Headers) model.Headers {
	var out model.Headers
	if h == nil {
		return out
	}
	if q := h.Request; q != nil {
		add, set := r.renamed(path+".request.add", q.Add, &out), r.renamed(path+".request.set", q.Set, &out) // which counts where both have one
		out.RequestSet = r.headerOps(path+".request.set", set)
		out.RequestAdd = r.headerOps(path+".request.add", add)
		out.RequestRemove = r.headerNames(path+".request.remove", q.Remove)
	}
	if p := h.Response; p != nil {
		out.ResponseSet = r.headerOps(path+".response.set", p.Set)
		out.ResponseAdd = r.headerOps(path+".response.add", p.Add)
		out.ResponseRemove = r.headerNames(path+".response.remove", p.Remove)
	}
	return out
}

// renamed takes the authority, by either of its names, out of what is set or added: there is one, which is rewritten.
func (r *reader) renamed(path string, all map[string]string, out *model.Headers) map[string]string {
	for _, host := range []string{"host", ":authority"} {
		for key, value := range all {
			if strings.EqualFold(key, host) {
				r.oneLine(path+"["+key+"]", value)
				out.Host = value
				all = without(all, key)
			}
		}
	}
	return all
}

func without(m map[string]string, key string) map[string]string {
	m = maps.Clone(m)
	delete(m, key)
	return m
}

func (r *reader) headerOps(path string, all map[string]string) []model.HeaderOp {
	var out []model.HeaderOp
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p := path + "[" + key + "]"
		r.changeable(p, key)
		r.oneLine(p, all[key])
		if err := values.Format(all[key]); err != nil {
			r.Errorf(p, "%v", err)
		}
		out = append(out, model.HeaderOp{Key: key, Value: all[key]})
	}
	return out
}

// oneLine records text that would end the line which it becomes part of: a header's value, a request's path.
func (r *reader) oneLine(path, text string) {
	if strings.ContainsAny(text, "\r\n\x00") {
		r.Errorf(path, "one line expected")
	}
}

func (r *reader) headerNames(path string, names []string) []string {
	for i, name := range names {
		r.changeable(r.at(path, i), name)
	}
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

// changeable records headers that routing needs.
func (r *reader) changeable(path, name string) {
	switch {
	case name == "":
		r.Errorf(path, "empty header name")
	case strings.HasPrefix(name, ":") || strings.EqualFold(name, "host"):
		r.Errorf(path, "%q cannot be changed here; request.set and request.add with host or :authority rewrite the authority", name)
	default:
		r.headerName(path, name)
	}
}
