// Package registration makes WorkloadEntries for machines outside of the cluster: one for as long as the machine's proxy is connected to some replica of the
// control plane, of what its WorkloadGroup says. It trusts who calls it that the machine has proven its account; it overwrites and removes nothing that
// it did not make, and decides nothing of what proxies are told.
package registration

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Group is a WorkloadGroup that machines may register themselves by.
type Group struct {
	types.NamespacedName
	UID         types.UID
	Account     string // service account, the only one whose proof counts
	Labels      map[string]string
	Annotations map[string]string
	Ports       map[string]uint32
	Locality    string
	Weight      uint32
	Probed      bool // its proxies say whether their applications are healthy
}

// Entry is a WorkloadEntry that some control plane registered.
type Entry struct {
	types.NamespacedName
	Account    string // service account
	Controller string // wire.RegistrationController
	Connected  string // wire.RegistrationConnected
}

// Config is what a Registrar needs.
type Config struct {
	Client client.Client        // reads from the API server, not from a cache
	Self   types.NamespacedName // this replica's pod
	// Groups returns a group that is in force, or nil; Entries what there is, as it was read last. Both may lag behind.
	Groups  func(types.NamespacedName) *Group
	Entries func() []Entry
	// Alive reports whether a replica's pod is there.
	Alive func(ctx context.Context, replica types.NamespacedName) bool
	// Most is how many machines one account may have registered now; 0: MostMachines; below 0: those that it has registered.
	Most func() int
	Log  *slog.Logger
}

// MostMachines is how many machines one service account may have registered where the mesh says nothing. Whoever has an account's proof chooses the addresses that it registers, and each
// is an object in the cluster and an endpoint that every proxy may be told of.
const MostMachines = 1000

// Registrar knows the machines whose proxies are connected to this replica. It is safe for concurrent use.
type Registrar struct {
	Config
	wake chan struct{}

	mu   sync.Mutex
	held map[types.NamespacedName]*held
}

// New returns a Registrar.
func New(c Config) *Registrar {
	return &Registrar{Config: c, wake: make(chan struct{}, 1), held: map[types.NamespacedName]*held{}}
}

// Claim is what a machine asks for, whose account is proven.
type Claim struct {
	Group   types.NamespacedName // the namespace is the proven one
	Account string               // proven
	Address string
}

// Refusal is why a machine may not register itself.
type Refusal struct{ Reason string }

// Error gives the reason.
func (r *Refusal) Error() string { return r.Reason }

func refused(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// held is a machine that is connected, or was until a moment ago.
type held struct {
	name    types.NamespacedName
	account string

	// Guarded by the registrar.
	streams int
	left    time.Time // when the last of them ended
	health  *string   // what its proxy told last: "" is healthy; nil: nothing yet

	writing sync.Mutex // guards what follows, and the entry
	group   Group
	address string
	since   string    // wire.RegistrationConnected of the entry that was written; "": none was
	at      time.Time // of that
	told    *string   // health that the entry's status says
}

// Registration is one stream of a machine's proxy.
type Registration struct {
	registrar *Registrar
	held      *held
	once      sync.Once
}

// Entry is the name of the WorkloadEntry.
func (g *Registration) Entry() string { return g.held.name.Name }

// Health notes what the proxy tells of its application: it is healthy where reason is empty.
func (g *Registration) Health(reason string) {
	g.registrar.mu.Lock()
	g.held.health = &reason
	g.registrar.mu.Unlock()
	g.registrar.nudge()
}

// Leave notes that the stream has ended. The entry goes a while later, unless the machine comes back.
func (g *Registration) Leave() {
	g.once.Do(func() { g.registrar.leave(g.held) })
}

// EntryName is what the WorkloadEntry of a machine is called, as in Istio.
func EntryName(group, address string) string {
	return group + "-" + strings.ReplaceAll(address, ":", "-")
}

// Register has a machine's WorkloadEntry be there and be this replica's. The error is a *Refusal where the machine may not have one, any other where that could not
// be found out or written.
func (r *Registrar) Register(ctx context.Context, c Claim) (*Registration, error) {
	ctx, cancel := context.WithTimeout(ctx, call)
	defer cancel()
	group, err := r.judge(c)
	if err != nil {
		return nil, err
	}
	h, err := r.join(types.NamespacedName{Namespace: c.Group.Namespace, Name: EntryName(c.Group.Name, c.Address)}, c.Account)
	if err != nil {
		return nil, err
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	before, at := h.group, h.address
	h.group, h.address = *group, c.Address
	if err := r.write(ctx, h); err != nil {
		h.group, h.address = before, at // another machine may be who has the name
		r.leave(h)
		return nil, err
	}
	r.Log.Info("a machine is connected", "entry", h.name.String(), "group", c.Group.Name)
	return &Registration{registrar: r, held: h}, nil
}

// judge finds out whether a machine may register itself.
func (r *Registrar) judge(c Claim) (*Group, error) {
	group := r.Groups(c.Group)
	if group == nil {
		return nil, refused("there is no WorkloadGroup %s that machines may register themselves by", c.Group)
	}
	if group.Account != c.Account {
		return nil, refused("machines of WorkloadGroup %s act for service account %s, not for %s", c.Group, group.Account, c.Account)
	}
	address, err := netip.ParseAddr(c.Address)
	switch {
	case err != nil:
		return nil, refused("%q is no address", c.Address)
	case address.String() != c.Address || address.Zone() != "" || address.Is4In6():
		return nil, refused("%q is not the usual form of an address", c.Address)
	case !address.IsGlobalUnicast():
		return nil, refused("%s is no address that others reach a machine by", c.Address)
	}
	return group, nil
}

// join notes one more stream of a machine, where its account may have one more machine.
func (r *Registrar) join(name types.NamespacedName, account string) (*held, error) {
	entries := r.Entries()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[name]
	if h == nil {
		if n, most := r.others(name, account, entries), max(cmp.Or(r.Most(), MostMachines), 0); n >= most {
			return nil, refused("%d machines of service account %s/%s are registered, and no more than %d may be (the setting %s)", n, name.Namespace, account, most, wire.MachinesMostKey)
		}
		h = &held{name: name, account: account}
		r.held[name] = h
	}
	h.streams++
	return h, nil
}

// others counts the machines of an account beside one: those that some replica has registered, and those that this one is registering. It is -1 where the
// one itself is among the registered: there is room for it. r.mu is held.
func (r *Registrar) others(one types.NamespacedName, account string, entries []Entry) int {
	all := map[types.NamespacedName]bool{}
	for _, e := range entries {
		if e.Namespace == one.Namespace && e.Account == account {
			all[e.NamespacedName] = true
		}
	}
	if all[one] {
		return -1
	}
	for name, h := range r.held {
		if name.Namespace == one.Namespace && h.account == account {
			all[name] = true
		}
	}
	return len(all)
}

func (r *Registrar) leave(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.streams--; h.streams == 0 {
		h.left = time.Now()
	}
}

func (r *Registrar) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// self is what the entries of this replica say of who made them.
func (r *Registrar) self() string { return Controller(r.Self) }

// Controller is what the entries of a replica say of who made them.
func Controller(replica types.NamespacedName) string {
	return wire.RegistrationPrefix + replica.String()
}

// replicaOf reads Controller; ok is false for entries that are another's than Heddle's.
func replicaOf(controller string) (replica types.NamespacedName, ok bool) {
	text, ours := strings.CutPrefix(controller, wire.RegistrationPrefix)
	namespace, name, found := strings.Cut(text, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ours && found && namespace != "" && name != ""
}
