package status

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/distribution"
)

const (
	// tellEvery is how often a replica that does not lead tells what changed, and at most how often it writes.
	tellEvery = 2 * time.Second
	// beatEvery is how often it writes though nothing changed, to say that it lives.
	beatEvery = 20 * time.Second
	// deadAfter is how long a replica may be silent before its proxies count as gone. Silence is measured by the reader's own clock.
	deadAfter = time.Minute
	// readFor is how long what was read counts.
	readFor = time.Second
	// leaveWithin is how long taking back what was told may take at the end.
	leaveWithin = 2 * time.Second
)

// Exchange is how replicas tell each other of their proxies: one ConfigMap with a key for each replica that does not lead.
type Exchange struct {
	kube      kubernetes.Interface
	namespace string
	name      string // of this replica
	tracker   *distribution.Tracker
	log       *slog.Logger
	now       func() time.Time
	leads     atomic.Bool

	// Used by Count alone.
	heard map[string]heard
	read  []distribution.Report // what the others told, when it was read last
	at    time.Time
}

// heard is when a replica was heard of last.
type heard struct {
	text string
	at   time.Time
}

// message is what a replica writes.
type message struct {
	Beat   int64               `json:"beat"` // counts up
	Report distribution.Report `json:"report"`
}

// NewExchange prepares an Exchange for the replica called name.
func NewExchange(kube kubernetes.Interface, namespace, name string, tracker *distribution.Tracker, log *slog.Logger) *Exchange {
	return &Exchange{kube: kube, namespace: namespace, name: name, tracker: tracker, log: log, now: time.Now, heard: map[string]heard{}}
}

// Run tells the leader of this replica's proxies until ctx ends. It is to end after their streams: then none of them counts any more.
func (x *Exchange) Run(ctx context.Context) error {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var told string // the last report
	var at time.Time
	for beat := x.now().UnixNano(); ; beat++ {
		select {
		case <-ctx.Done():
			if told != "" {
				x.leave(context.WithoutCancel(ctx))
			}
			return nil
		case <-ticker.C:
		}
		if x.leads.Load() {
			told = ""
			continue
		}
		r := x.tracker.Report()
		text, err := json.Marshal(r)
		if err != nil || string(text) == told && x.now().Sub(at) < beatEvery {
			continue
		}
		if err := x.tell(ctx, message{Beat: beat, Report: r}); err != nil {
			x.log.Warn("the leader cannot be told how far the proxies of this replica are", "err", err)
			continue
		}
		told, at = string(text), x.now()
	}
}

// leave takes this replica's key out.
func (x *Exchange) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	if err := x.patch(ctx, map[string]any{x.name: nil}); err != nil {
		x.log.Warn("the proxies of this replica count for a minute more", "err", err)
	}
}

// tell writes this replica's key.
func (x *Exchange) tell(ctx context.Context, m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	return x.patch(ctx, map[string]any{x.name: string(text)})
}

// patch sets keys of the ConfigMap, or deletes those that are nil.
func (x *Exchange) patch(ctx context.Context, data map[string]any) error {
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("writing a patch: %w", err)
	}
	configMaps := x.kube.CoreV1().ConfigMaps(x.namespace)
	_, err = configMaps.Patch(ctx, wire.DistributionConfigMap, types.MergePatchType, body, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		empty := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: wire.DistributionConfigMap, Namespace: x.namespace}}
		if _, err = configMaps.Create(ctx, empty, metav1.CreateOptions{}); err == nil || apierrors.IsAlreadyExists(err) {
			_, err = configMaps.Patch(ctx, wire.DistributionConfigMap, types.MergePatchType, body, metav1.PatchOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s: %w", wire.DistributionConfigMap, err)
	}
	return nil
}

// Lead has this replica be the one that reads for as long as f runs.
func (x *Exchange) Lead(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		x.leads.Store(true)
		defer x.leads.Store(false)
		return f(ctx)
	}
}

// Count adds what the other replicas tell to what this one knows. It is a Counter, for the leader, and serves one caller at a time.
func (x *Exchange) Count(ctx context.Context) (*distribution.Sum, error) {
	if x.at.IsZero() || x.now().Sub(x.at) >= readFor {
		others, err := x.others(ctx)
		if err != nil {
			return nil, err
		}
		x.read, x.at = others, x.now()
	}
	return x.tracker.Sum(x.read), nil
}

// others reads what the other replicas tell.
func (x *Exchange) others(ctx context.Context) ([]distribution.Report, error) {
	found, err := x.kube.CoreV1().ConfigMaps(x.namespace).Get(ctx, wire.DistributionConfigMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading ConfigMap %s: %w", wire.DistributionConfigMap, err)
	}
	live, gone := x.listen(found.Data)
	if len(gone) > 0 {
		if err := x.patch(ctx, gone); err != nil {
			x.log.Warn("reports of replicas that are gone stay", "err", err)
		}
	}
	var others []distribution.Report
	for _, name := range live {
		var m message
		if err := json.Unmarshal([]byte(found.Data[name]), &m); err != nil {
			return nil, fmt.Errorf("reading the report of replica %s: %w", name, err)
		}
		others = append(others, m.Report)
	}
	return others, nil
}

// listen sorts the replicas into those that live and those that are gone: this one, which led or leads, among the latter.
func (x *Exchange) listen(data map[string]string) (live []string, gone map[string]any) {
	gone = map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		h := x.heard[name]
		if h.text != data[name] {
			h = heard{data[name], x.now()}
			x.heard[name] = h
		}
		if name == x.name || x.now().Sub(h.at) >= deadAfter {
			gone[name] = nil
			continue
		}
		live = append(live, name)
	}
	for name := range x.heard {
		if _, there := data[name]; !there {
			delete(x.heard, name)
		}
	}
	return live, gone
}
