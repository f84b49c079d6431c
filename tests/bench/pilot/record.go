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

// head begins the page's part.
func (b bench) head() string {
	peer := "needed on another day (master of 2026-08-22, two cores of the same kind, clients that are told everything)"
	if b.binaries.istiod != "" {
		peer = "(" + b.istiodVersion() + ") needed, which ran in turns with heddled beside the same objects and the same clients, but without TLS and with " + streamLimit() + " of new streams; where clients are ours, its own are Envoys that are told everything"
	}
	return page.Heading + `
Written by ` + "`go run ./tests/bench/pilot -record docs/performance.md`" + `; ` + "`make bench-pilot`" + ` measures without writing, ` + "`ISTIOD=path make bench-pilot`" + ` beside a pilot-discovery. A real API server (etcd and
kube-apiserver), heddled as a process of its own, and clients of delta ADS over mTLS that one other process plays, all on the same machine. What the clients cost is part of every time: each is one goroutine on
one connection that reads frames and responses in place, takes of them no more than names, versions and nonces, and accepts each by a message of some hundred bytes; what a resource refers to is read once for all of
them. (0.10x) is the part of what istiod ` + peer + `; an
exclamation mark is a must that does not hold. Musts are about 1000x1000, and about growth: "n^" is the slope of a line through the logarithms, at most 1.1.
`
}

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
	out.WriteString(b.head())
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
