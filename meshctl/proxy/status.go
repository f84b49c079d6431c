package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// Status is how far a proxy got with what it was told.
type Status struct {
	Proxy        string               `json:"proxy"` // pod.namespace
	Role         string               `json:"role"`
	Version      string               `json:"version"`
	Dialect      int                  `json:"dialect,omitempty"` // what it understands; 0: a proxy that is not Heddle's
	Skew         string               `json:"skew,omitempty"`    // what becomes of a proxy whose dialect the control plane does not speak
	Identity     string               `json:"identity"`
	Types        map[string]TypeState `json:"types"` // by short type; one that the proxy never asked for is not there
	ControlPlane string               `json:"controlPlane"`
	Revision     string               `json:"revision"` // of the control plane; "default" is the default one's
	Since        time.Time            `json:"since"`
}

// TypeState is how far a proxy got with one type.
type TypeState struct {
	State   string   `json:"state"`
	Pending int      `json:"pending,omitempty"` // STALE: resources that were sent and not answered
	Reason  string   `json:"reason,omitempty"`  // NACK: what is refused, and why
	Missing []string `json:"missing,omitempty"` // Secrets that the proxy waits for
}

func (s TypeState) String() string {
	switch {
	case s.State == Stale && s.Pending > 0:
		return fmt.Sprintf("%s (%d)", s.State, s.Pending)
	case s.State != Refused && len(s.Missing) > 0:
		return fmt.Sprintf("%s, %d MISSING", s.State, len(s.Missing))
	}
	return s.State
}

// States of a type.
const (
	Synced  = "SYNCED"
	Stale   = "STALE"    // sent, not answered
	Refused = "NACK"     // the proxy keeps what it had of what it refused
	NotSent = "NOT SENT" // asked for, and there is nothing to send
)

// client is what heddled tells of one stream.
type client struct {
	Node struct {
		Role    string
		Version string
		Dialect int
	} `json:"node"`
	Namespace string                `json:"namespace"`
	Pod       string                `json:"pod"`
	Identity  string                `json:"identity"`
	Skew      string                `json:"skew"`
	Since     time.Time             `json:"since"`
	Types     map[string]typeStatus `json:"types"`
}

type typeStatus struct {
	Sent    string   `json:"sent"`
	Acked   string   `json:"acked"`
	Pending int      `json:"pending"`
	Error   string   `json:"error"`
	Missing []string `json:"missing"`
}

func (t typeStatus) state() TypeState {
	out := TypeState{State: Synced, Missing: t.Missing}
	switch {
	case t.Error != "":
		out.State, out.Reason = Refused, t.Error
	case t.Sent == "":
		out.State = NotSent
	case t.Sent != t.Acked:
		out.State, out.Pending = Stale, t.Pending
	}
	return out
}

// controlPlanes selects the pods of the control planes of all revisions.
const controlPlanes = "app.kubernetes.io/name=" + wire.DiscoveryService

// ReadStatus asks every replica of the control plane, of all revisions, for its proxies.
func ReadStatus(ctx context.Context, kube kubernetes.Interface, ask Asker) ([]Status, error) {
	replicas, err := running(ctx, kube, wire.SystemNamespace, controlPlanes)
	if err != nil {
		return nil, err
	}
	if len(replicas) == 0 {
		return nil, errors.New("no control plane runs in namespace " + wire.SystemNamespace)
	}
	var all []Status
	for _, replica := range replicas {
		answer, err := ask.Ask(ctx, wire.SystemNamespace, replica.Name, wire.PortMonitoring, http.MethodGet, "/debug/syncz")
		if err != nil {
			return nil, err
		}
		var clients []client
		if err := json.Unmarshal(answer, &clients); err != nil {
			return nil, fmt.Errorf("reading the answer of %s: %w", replica.Name, err)
		}
		for _, c := range clients {
			s := c.status(replica.Name)
			s.Revision = revision.Label(replica.Labels[wire.RevisionLabel])
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Proxy, b.Proxy) })
	return all, nil
}

func (c client) status(replica string) Status {
	s := Status{Proxy: c.Pod + "." + c.Namespace, Role: c.Node.Role, Version: c.Node.Version, Dialect: c.Node.Dialect, Skew: c.Skew, Identity: c.Identity, ControlPlane: replica, Since: c.Since,
		Types: map[string]TypeState{}}
	for url, t := range c.Types {
		s.Types[url[strings.LastIndexByte(url, '.')+1:]] = t.state()
	}
	return s
}

// StatusTable writes one row per proxy, and below it whose dialect is not spoken, why a proxy refused anything, and what it waits for.
func StatusTable(w io.Writer, all []Status) error {
	columns, titles := columnsOf(all)
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		row := []string{s.Proxy, s.Role}
		for _, column := range columns {
			row = append(row, s.Types[column].String())
		}
		rows = append(rows, append(row, s.Version, s.ControlPlane, s.Revision))
	}
	head := slices.Concat([]string{"PROXY", "ROLE"}, titles, []string{"VERSION", "CONTROL PLANE", "REVISION"})
	if err := output.Table(w, head, rows); err != nil {
		return err
	}
	for _, s := range all {
		if s.Skew != "" {
			if _, err := fmt.Fprintf(w, "\n%s %s\n", s.Proxy, s.Skew); err != nil {
				return err
			}
		}
		for _, column := range columns {
			if err := explain(w, s.Proxy, column, s.Types[column]); err != nil {
				return err
			}
		}
	}
	return nil
}

// columnsOf are the types of the table and their titles: those that every proxy may ask for, and those of hosts on demand and of names where one asks for them.
func columnsOf(all []Status) (types, titles []string) {
	for _, c := range []struct {
		typ, title string
		always     bool
	}{
		{"Cluster", "CLUSTERS", true}, {"ClusterLoadAssignment", "ENDPOINTS", true}, {"Listener", "LISTENERS", true}, {"RouteConfiguration", "ROUTES", true},
		{"VirtualHost", "HOSTS", false}, {"DnsTable", "NAMES", false}, {"Secret", "SECRETS", true},
	} {
		if c.always || slices.ContainsFunc(all, func(s Status) bool { return s.Types[c.typ].State != "" }) {
			types, titles = append(types, c.typ), append(titles, c.title)
		}
	}
	return types, titles
}

// explain says what is wrong with one type.
func explain(w io.Writer, proxy, typ string, s TypeState) error {
	var lines []string
	if s.Reason != "" {
		lines = append(lines, fmt.Sprintf("%s refused %s: %s", proxy, typ, s.Reason))
	}
	if len(s.Missing) > 0 {
		lines = append(lines, fmt.Sprintf("%s waits for Secrets that are not there, cannot be used, or may not be read: %s", proxy, strings.Join(s.Missing, ", ")))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(w, "\n%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
