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
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// Status is how far a proxy got with what it was told.
type Status struct {
	Proxy        string            `json:"proxy"` // pod.namespace
	Role         string            `json:"role"`
	Version      string            `json:"version"`
	Identity     string            `json:"identity"`
	Types        map[string]string `json:"types"`             // short type: state
	Refused      map[string]string `json:"refused,omitempty"` // short type: why
	ControlPlane string            `json:"controlPlane"`
	Since        time.Time         `json:"since"`
}

// States of a type.
const (
	Synced  = "SYNCED"
	Stale   = "STALE"   // sent, not answered
	Refused = "REFUSED" // the proxy keeps what it had
	NotSent = "NOT SENT"
)

// client is what heddled tells of one stream.
type client struct {
	Node struct {
		Role    string
		Version string
	} `json:"node"`
	Namespace string                `json:"namespace"`
	Pod       string                `json:"pod"`
	Identity  string                `json:"identity"`
	Since     time.Time             `json:"since"`
	Types     map[string]typeStatus `json:"types"`
}

type typeStatus struct {
	Sent  string `json:"sent"`
	Acked string `json:"acked"`
	Error string `json:"error"`
}

func (t typeStatus) state() string {
	switch {
	case t.Error != "":
		return Refused
	case t.Sent == "":
		return NotSent
	case t.Sent != t.Acked:
		return Stale
	}
	return Synced
}

// ReadStatus asks every replica of the control plane for its proxies.
func ReadStatus(ctx context.Context, kube kubernetes.Interface, ask Asker) ([]Status, error) {
	replicas, err := running(ctx, kube, wire.SystemNamespace, "app="+wire.DiscoveryService)
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
			all = append(all, c.status(replica.Name))
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Proxy, b.Proxy) })
	return all, nil
}

func (c client) status(replica string) Status {
	s := Status{Proxy: c.Pod + "." + c.Namespace, Role: c.Node.Role, Version: c.Node.Version, Identity: c.Identity, ControlPlane: replica, Since: c.Since,
		Types: map[string]string{}, Refused: map[string]string{}}
	for url, t := range c.Types {
		short := url[strings.LastIndexByte(url, '.')+1:]
		s.Types[short] = t.state()
		if t.Error != "" {
			s.Refused[short] = t.Error
		}
	}
	return s
}

// StatusTable writes one row per proxy, and below it why a proxy refused anything.
func StatusTable(w io.Writer, all []Status) error {
	columns := []string{"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Secret"}
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		row := []string{s.Proxy, s.Role}
		for _, column := range columns {
			row = append(row, s.Types[column])
		}
		rows = append(rows, append(row, s.Version, s.ControlPlane))
	}
	head := []string{"PROXY", "ROLE", "CLUSTERS", "ENDPOINTS", "LISTENERS", "ROUTES", "SECRETS", "VERSION", "CONTROL PLANE"}
	if err := output.Table(w, head, rows); err != nil {
		return err
	}
	for _, s := range all {
		for _, column := range columns {
			if why := s.Refused[column]; why != "" {
				if _, err := fmt.Fprintf(w, "\n%s refused %s: %s\n", s.Proxy, column, why); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
