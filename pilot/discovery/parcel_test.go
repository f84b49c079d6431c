package discovery

import (
	"bytes"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
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

// TestAnswersAreRead holds that requests mean the same whether a message is made of them or not.
func TestAnswersAreRead(t *testing.T) {
	plain := encoding.GetCodecV2("proto")
	for why, c := range map[string]struct {
		message *ads.DeltaDiscoveryRequest
		glance  bool
	}{
		"an answer":             {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeEndpoints, ResponseNonce: "12"}, true},
		"without a nonce":       {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeEndpoints}, false},
		"without a type":        {&ads.DeltaDiscoveryRequest{ResponseNonce: "12"}, false},
		"a refusal":             {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeRoute, ResponseNonce: "12", ErrorDetail: &status.Status{Message: "no"}}, false},
		"another server's":      {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeRoute, ResponseNonce: "abc"}, false},
		"a type of nobody":      {&ads.DeltaDiscoveryRequest{TypeUrl: "x", ResponseNonce: "1"}, false},
		"an answer that asks":   {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeEndpoints, ResponseNonce: "12", ResourceNamesSubscribe: []string{"a"}}, false},
		"an answer that leaves": {&ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeEndpoints, ResponseNonce: "12", ResourceNamesUnsubscribe: []string{"a"}}, false},
		"a greeting":            {&ads.DeltaDiscoveryRequest{Node: &core.Node{Id: "x"}, TypeUrl: wire.TypeCluster, InitialResourceVersions: map[string]string{"a": "1"}}, false},
	} {
		data, err := plain.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		for server, codec := range map[string]encoding.CodecV2{"with Encoding": codec{plain}, "without": plain} {
			var q question
			if err := codec.Unmarshal(data, &q); err != nil {
				t.Fatalf("%s, %s: %v", why, server, err)
			}
			if glance := c.glance && server == "with Encoding"; (q.answer != nil) != glance {
				t.Errorf("%s, %s: a message was made: %v", why, server, q.answer == nil)
			}
			if diff := cmp.Diff(proto.Message(c.message), q.ProtoReflect().Interface(), protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s (-sent +read):\n%s", why, server, diff)
			}
		}
	}
	if err := (codec{plain}).Unmarshal(mem.BufferSlice{mem.SliceBuffer{0xff, 0xff}}, &question{}); err == nil {
		t.Error("what is no message is read")
	}
}
