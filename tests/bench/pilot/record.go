package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/tests/bench/page"
)

const recordHead = page.Heading + `
Written by ` + "`go run ./tests/bench/pilot -record docs/performance.md`" + `; ` + "`make bench-pilot`" + ` measures without writing. A real API server (etcd and kube-apiserver), heddled as a process of its own, and
clients of delta ADS over mTLS that one other process plays, all on the same machine. (0.10x) is the part of what istiod (master of 2026-08-22, two cores of the same kind, clients that are told everything) needed; an
exclamation mark is a must that does not hold. Musts are about 1000x1000, and about growth: "n^" is the slope of a line through the logarithms, at most 1.1.
`

// explain says what the figures are figures of, and how many musts hold.
func (o outcome) explain(b bench) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nA service has one HTTP port and %d endpoints; %d namespaces. Bytes are those of messages. Changes: from just before the write to the API server until the last client has it, the median of %d.\n",
		endpointsEach, b.namespaces, changes)
	fmt.Fprintf(&out, "On demand every client uses the services that change, and asked for the new ones before they were there.\n")
	fmt.Fprintf(&out, "\nbench-pilot: %d of %d musts hold\n", o.hold, o.all)
	return out.String()
}

// record writes that as the control plane's part of a page, with the machine and the versions it comes from.
func (o outcome) record(ctx context.Context, b bench) error {
	commit, err := output(ctx, "", "git", "describe", "--always", "--dirty")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.WriteString(recordHead)
	fmt.Fprintf(&out, "\n%s\n\n| | |\n| --- | --- |\n", strings.TrimSpace("On "+time.Now().UTC().Format("2006-01-02")+". "+b.note))
	for _, line := range [][2]string{{"machine", page.Machine()}, {"kernel", page.Kernel()}, {"Heddle", commit + ", " + runtime.Version()}} {
		fmt.Fprintf(&out, "| %s | %s |\n", line[0], line[1])
	}
	for _, t := range o.tables {
		t.print(&out)
	}
	out.WriteString(o.explain(b))
	return page.Write(b.record, page.ControlPlane, out.Bytes())
}
