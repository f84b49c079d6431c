package simulation

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/heddle-mesh/heddle/meshctl/explain"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// leastExplained is how many scenarios are explained, at least.
const leastExplained = 700

// tolerance is how far shares may be apart where balancers choose at random: both sides sample.
const tolerance = 0.06

// TestExplanationsHold has `meshctl explain` say what becomes of every scenario of every mesh, and compares that with what did: whether it
// succeeds, with which status and flag, and at which pods it ends. The simulation finds its way with code of its own.
func TestExplanationsHold(t *testing.T) {
	var count atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && count.Load() < leastExplained {
			t.Errorf("%d scenarios were explained, want at least %d", count.Load(), leastExplained)
		}
	})
	eachMesh(t, func(t *testing.T, files map[string]string) { count.Add(int64(explainAll(t, files))) })
}

// explainAll compares each scenario of a mesh, and returns how many there were to compare.
func explainAll(t *testing.T, files map[string]string) int {
	m := newMesh(t, files)
	in, err := source.FromYAML([]byte(m.text))
	if err != nil {
		t.Fatal(err)
	}
	twin, err := replica.New(in)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, line := range lines(files["scenarios"]) {
		left, _, _ := strings.Cut(line, "=>")
		client, r, ok := asked(m, strings.Fields(left))
		if !ok {
			continue
		}
		pod, err := twin.Find(client.name, client.namespace)
		if err != nil {
			t.Fatal(err)
		}
		j := newJourney()
		if err := m.play(strings.Fields(left), j); err != nil {
			t.Fatal(err)
		}
		if j.words["impostor"] { // only a handshake shows that
			continue
		}
		e, err := explain.Explain(twin, pod, r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(files["config.yaml"], "AUTO_PASSTHROUGH") && e.Verdict.Succeeds && !j.words["404"] { // it is followed to the gateway only
			continue
		}
		count++
		if problem := differs(j, e); problem != "" {
			var text strings.Builder
			_ = e.Text(&text)
			t.Errorf("%s\n\t%s\n\tit became: %s\n%s", line, problem, j, &text)
		}
	}
	return count
}

// asked is a scenario as a user of meshctl asks about it; false: it cannot be asked so.
func asked(m *mesh, words []string) (*pod, *explain.Request, bool) {
	if words[0] == "DNS" {
		return nil, nil, false
	}
	var client *pod
	var headers []string
	http2 := false
	for i := 2; i < len(words); i++ {
		switch {
		case words[i] == "from" && words[i+1] == "outside":
			i++
		case words[i] == "from", words[i] == "at":
			i++
			if client != nil { // a pod that asks a gateway
				return nil, nil, false
			}
			client = m.pods[words[i]]
		case words[i] == "http2":
			http2 = true
		case strings.HasPrefix(words[i], "host="):
			headers = append(headers, "host:"+words[i][5:])
		case strings.HasPrefix(words[i], "sni="), strings.HasPrefix(words[i], "client-certificate:"), strings.HasPrefix(words[i], "client-tls:"):
			return nil, nil, false
		default:
			headers = append(headers, words[i])
		}
	}
	r, err := explain.ParseRequest(words[0], words[1], headers, http2)
	return client, r, err == nil && client != nil
}

// differs says in what an explanation is wrong; "": in nothing.
func differs(j *journey, e *explain.Explanation) string {
	v := e.Verdict
	fails := false
	for _, bad := range []string{"closed", "denied", "NR", "NC", "UH", "UF", "404", "421", "503", "403", "418", "502", "555", "no-routes"} {
		fails = fails || j.words[bad]
	}
	switch {
	case fails == v.Succeeds:
		return fmt.Sprintf("succeeds: %t", v.Succeeds)
	case v.Flag == "RBAC" && !j.words["denied"], v.Flag != "" && v.Flag != "RBAC" && len(v.Flag) == 2 && v.Status != 0 && v.Status < 500 && !j.words[v.Flag]:
		return "flag " + v.Flag
	case v.Status != 0 && !j.words[strconv.Itoa(v.Status)]:
		return "status " + strconv.Itoa(v.Status)
	}
	shares := map[string]float64{}
	pods := 0
	for _, h := range ends(e.Hop) {
		shares[h.Pod] += h.Share
		pods += 1 + h.Like
	}
	if pods != len(j.pods) {
		return fmt.Sprintf("it ends at %d pods, want %d", pods, len(j.pods))
	}
	for name := range shares {
		pod, _, _ := strings.Cut(name, ".")
		if j.pods[pod] == 0 {
			return "it ends at " + name
		}
		if one := len(shares) == pods; one && math.Abs(j.pods[pod]-shares[name]) > tolerance {
			return fmt.Sprintf("%s gets %.1f%%", name, shares[name]*100)
		}
	}
	return ""
}

// ends are the hops at whose pods requests end.
func ends(h *explain.Hop) []*explain.Hop {
	if h == nil {
		return nil
	}
	var out []*explain.Hop
	if h.End != nil && h.End.Succeeds && h.End.Status == 0 && h.Side == "application" {
		out = append(out, h)
	}
	for _, t := range h.Targets {
		if t.End != nil && t.End.Succeeds && !slices.Contains(out, h) {
			out = append(out, h)
		}
		for _, next := range t.Hops {
			out = append(out, ends(next)...)
		}
	}
	return out
}
