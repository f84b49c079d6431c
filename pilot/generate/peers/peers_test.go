package peers

import (
	"testing"

	"github.com/heddle-mesh/heddle/pilot/model"
)

func policy(namespace string, selector model.Selector, mode model.MTLSMode, ports map[uint16]model.MTLSMode) *model.PeerAuthentication {
	return &model.PeerAuthentication{From: model.Name{Namespace: namespace}, Selector: selector, Mode: mode, Ports: ports}
}

func TestPrecedence(t *testing.T) {
	db := model.Selector{"app": "db"}
	for what, c := range map[string]struct {
		policies []*model.PeerAuthentication // by age
		port     uint16
		want     model.MTLSMode
	}{
		"nothing is said": {nil, 0, model.MTLSPermissive},
		"the root's":      {[]*model.PeerAuthentication{policy("root", nil, model.MTLSStrict, nil)}, 0, model.MTLSStrict},
		"a namespace's over the root's": {[]*model.PeerAuthentication{
			policy("root", nil, model.MTLSStrict, nil), policy("shop", nil, model.MTLSDisable, nil),
		}, 0, model.MTLSDisable},
		"a workload's over the namespace's": {[]*model.PeerAuthentication{
			policy("shop", nil, model.MTLSDisable, nil), policy("shop", db, model.MTLSStrict, nil),
		}, 0, model.MTLSStrict},
		"the older of two": {[]*model.PeerAuthentication{
			policy("shop", db, model.MTLSStrict, nil), policy("shop", db, model.MTLSDisable, nil),
		}, 0, model.MTLSStrict},
		"unset inherits": {[]*model.PeerAuthentication{
			policy("root", nil, model.MTLSStrict, nil), policy("shop", nil, model.MTLSUnset, nil), policy("shop", db, model.MTLSUnset, nil),
		}, 0, model.MTLSStrict},
		"a selector in the root namespace reaches nobody elsewhere": {[]*model.PeerAuthentication{policy("root", db, model.MTLSStrict, nil)}, 0, model.MTLSPermissive},
		"another workload's":  {[]*model.PeerAuthentication{policy("shop", model.Selector{"app": "web"}, model.MTLSStrict, nil)}, 0, model.MTLSPermissive},
		"another namespace's": {[]*model.PeerAuthentication{policy("bank", nil, model.MTLSStrict, nil)}, 0, model.MTLSPermissive},
		"a port's over the workload's": {[]*model.PeerAuthentication{
			policy("shop", db, model.MTLSStrict, map[uint16]model.MTLSMode{80: model.MTLSDisable}),
		}, 80, model.MTLSDisable},
		"another port's": {[]*model.PeerAuthentication{
			policy("shop", db, model.MTLSStrict, map[uint16]model.MTLSMode{80: model.MTLSDisable}),
		}, 81, model.MTLSStrict},
		"an unset port inherits": {[]*model.PeerAuthentication{
			policy("shop", db, model.MTLSStrict, map[uint16]model.MTLSMode{80: model.MTLSUnset}),
		}, 80, model.MTLSStrict},
	} {
		rules := New(&model.Snapshot{Mesh: &model.Mesh{RootNamespace: "root"}, PeerAuthentications: c.policies}, nil)
		if got := rules.Mode("shop", model.Labels{"app": "db"}, c.port); got != c.want {
			t.Errorf("%s: mode is %d, want %d", what, got, c.want)
		}
	}
}

func TestEqualPoliciesKeepTheRules(t *testing.T) {
	s := &model.Snapshot{Mesh: &model.Mesh{RootNamespace: "root"}, PeerAuthentications: []*model.PeerAuthentication{policy("shop", nil, model.MTLSDisable, nil)}}
	first := New(s, nil)
	again := *s
	if New(&again, first) != first || !first.Disables() {
		t.Error("equal policies do not keep their rules")
	}
	again.PeerAuthentications = nil
	if next := New(&again, first); next == first || next.Disables() {
		t.Error("other policies keep the old rules")
	}
}
