package discovery

import (
	"bytes"
	"strings"
	"testing"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/record"
)

// TestParcelsAreMessages holds that what is sent without being marshalled is what the generated messages would have said.
func TestParcelsAreMessages(t *testing.T) {
	made := func(name string, size int) *wire.Resource {
		packed, body := record.Of(wire.TypeCluster, name, "v-"+name, bytes.Repeat([]byte(name), size))
		return &wire.Resource{Type: wire.TypeCluster, Name: name, Version: "v-" + name, Body: body, Record: packed}
	}
	plain := made("plain", 3)
	plain.Record = nil
	for why, r := range map[string]*response{
		"nothing":           {typ: wire.TypeCluster, nonce: "1", version: "1"},
		"only removals":     {typ: wire.TypeCluster, nonce: "2", version: "2", removed: []string{"a", "b"}},
		"resources":         {typ: wire.TypeCluster, nonce: "30", version: "30", resources: []*wire.Resource{made("a", 1), made("b", 200), made("c", 40_000)}, removed: []string{"d"}},
		"an empty resource": {typ: wire.TypeCluster, nonce: "4", version: "4", resources: []*wire.Resource{made("e", 0)}},
		"without a record":  {typ: wire.TypeCluster, nonce: "5", version: "5", resources: []*wire.Resource{plain}},
	} {
		want := &ads.DeltaDiscoveryResponse{TypeUrl: r.typ, Nonce: r.nonce, SystemVersionInfo: r.version, RemovedResources: r.removed}
		all := &ads.DiscoveryResponse{TypeUrl: r.typ, Nonce: r.nonce, VersionInfo: r.version}
		for _, res := range r.resources {
			body := &anypb.Any{TypeUrl: res.Type, Value: res.Body}
			want.Resources = append(want.Resources, &ads.Resource{Name: res.Name, Version: res.Version, Resource: body})
			all.Resources = append(all.Resources, body)
		}
		same(t, why+", delta", delta(r), want)
		if r.removed == nil {
			same(t, why+", whole", whole(r), all)
		}
	}
}

func same[T proto.Message](t *testing.T, why string, p *parcel, want T) {
	t.Helper()
	plain := encoding.GetCodecV2("proto")
	for server, c := range map[string]encoding.CodecV2{"with Encoding": codec{plain}, "without": plain} {
		sent, err := c.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got := want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(sent.Materialize(), got); err != nil {
			t.Fatalf("%s, %s: %v", why, server, err)
		}
		if diff := cmp.Diff(proto.Message(want), got, protocmp.Transform()); diff != "" {
			t.Errorf("%s, %s (-message +parcel):\n%s", why, server, diff)
		}
	}
}

// TestParcelsLend holds that bodies are not copied for each stream.
func TestParcelsLend(t *testing.T) {
	packed, body := record.Of(wire.TypeRoute, "80", "v", []byte(strings.Repeat("x", 1<<20)))
	r := &response{typ: wire.TypeRoute, resources: []*wire.Resource{{Type: wire.TypeRoute, Name: "80", Version: "v", Body: body, Record: packed}}}
	for why, p := range map[string]*parcel{"delta": delta(r), "whole": whole(r)} {
		last := p.parts[len(p.parts)-1].ReadOnlyData()
		if &last[len(last)-1] != &body[len(body)-1] {
			t.Errorf("%s: the body was copied", why)
		}
	}
	if _, err := (codec{encoding.GetCodecV2("proto")}).Marshal("text"); err == nil {
		t.Error("anything is sent")
	}
}
