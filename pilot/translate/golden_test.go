package translate_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/model/dump"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// TestGolden holds what objects mean. A case is in.yaml and the parts of the model and of the report that it is about.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		in := read(t, c.Files["in.yaml"])
		snap, rep := translate.Translate(in, nil)
		index, workloads := translate.Endpoints(in, nil)
		return map[string]string{
			"mesh":                dump.Value(snap.Mesh),
			"services":            each(snap.Services),
			"virtualservices":     each(snap.VirtualServices),
			"destinationrules":    rules(snap.DestinationRules),
			"gateways":            each(snap.Gateways),
			"sidecars":            each(snap.Sidecars),
			"peerauthentications": each(snap.PeerAuthentications),
			"authorizations":      each(snap.Authorizations),
			"telemetries":         each(snap.Telemetries),
			"proxyconfigs":        each(snap.ProxyConfigs),
			"workloadgroups":      each(slices.SortedFunc(maps.Values(snap.WorkloadGroups), func(a, b *model.WorkloadGroup) int { return cmp.Compare(a.From.Name, b.From.Name) })),
			"endpoints":           endpoints(index),
			"workloads":           workloadText(workloads),
			"report":              reportText(rep),
		}
	})
}

func read(t testing.TB, text string) *inputs.Inputs {
	t.Helper()
	in, err := source.FromYAML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func each[T any](list []T) string {
	var b strings.Builder
	for _, v := range list {
		b.WriteString(dump.Value([]T{v}))
	}
	return b.String()
}

// reportText leaves out what was accepted without a word.
func reportText(r report.Report) string {
	var lines []string
	for _, e := range r.Entries {
		if e.State != report.Accepted || len(e.Issues) > 0 {
			lines = append(lines, e.String())
		}
	}
	if len(lines) == 0 {
		return "nothing to say\n"
	}
	if !slices.IsSortedFunc(r.Entries, func(a, b *report.Entry) int { return a.Ref.Compare(b.Ref) }) {
		lines = append(lines, "not sorted")
	}
	return strings.Join(lines, "\n") + "\n"
}

func rules(all map[string][]*model.DestinationRule) string {
	var b strings.Builder
	for _, namespace := range slices.Sorted(maps.Keys(all)) {
		b.WriteString("namespace " + namespace + "\n" + each(all[namespace]))
	}
	return b.String()
}

func endpoints(ix *model.EndpointIndex) string {
	var lines []string
	for k, set := range ix.Sets {
		lines = append(lines, fmt.Sprintf("%s:%d of %s\n%s", k.Host, k.Port, k.Namespace, each(set.Endpoints)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func workloadText(ix *model.WorkloadIndex) string {
	var lines []string
	for _, w := range ix.ByName {
		lines = append(lines, dump.Value([]*model.Workload{w}))
	}
	for _, w := range ix.Machines {
		lines = append(lines, dump.Value([]*model.Workload{w}))
	}
	slices.Sort(lines)
	for _, ip := range slices.Sorted(maps.Keys(ix.ByIP)) {
		lines = append(lines, ip+": "+ix.ByIP[ip].Name.String()+"\n")
	}
	return strings.Join(lines, "")
}
