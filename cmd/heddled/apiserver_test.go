package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// apiserver is a Kubernetes API that keeps what it is given in memory, and fails as tests tell it to. It speaks lists and watches with resource
// versions, and knows no schema: whatever is written is kept.
type apiserver struct {
	t       *testing.T
	address string
	kinds   map[string]served // by "group/version/plural"

	mu        sync.Mutex
	server    *http.Server // nil: it is down
	version   int
	forgotten int // watches from an older version are too old
	objects   map[string]map[string]any
	events    []event
	changed   chan struct{}        // closed with each change
	cut       chan struct{}        // closed to end every watch
	expired   map[string]int       // by plural: watches that were told that they are too old
	watched   map[string]time.Time // by plural: since when the last watch lasts
}

type served struct {
	schema.GroupVersionKind
	plural     string
	namespaced bool
}

// event is one change.
type event struct {
	version          int
	collection, name string // of the object: "group/version/plural", "namespace/name"
	typ              string
	object           map[string]any
}

// newAPI starts one with a mesh of one namespace, a pod in it and no Services.
func newAPI(t *testing.T) *apiserver {
	a := &apiserver{t: t, address: ports.Address(t), kinds: map[string]served{}, objects: map[string]map[string]any{}, changed: make(chan struct{}), cut: make(chan struct{}),
		expired: map[string]int{}, watched: map[string]time.Time{}}
	add := func(group, version, kind, plural string, namespaced bool) {
		a.kinds[group+"/"+version+"/"+plural] = served{schema.GroupVersionKind{Group: group, Version: version, Kind: kind}, plural, namespaced}
	}
	for kind, plural := range map[string]string{"Service": "services", "Pod": "pods", "Secret": "secrets", "ConfigMap": "configmaps", "Event": "events"} {
		add("", "v1", kind, plural, true)
	}
	add("", "v1", "Namespace", "namespaces", false)
	add("", "v1", "Node", "nodes", false)
	add("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true)
	add("coordination.k8s.io", "v1", "Lease", "leases", true)
	add("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false)
	add("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false)
	add("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false)
	for _, k := range inputs.Kinds() {
		if k.Implemented {
			add(k.Group, k.Version, k.Kind, k.Resource, !k.Global)
		}
	}
	a.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {heddle-injection: enabled}}\n---\n" + pod)
	a.up()
	t.Cleanup(a.down)
	return a
}

// up has it listen, as before if it did.
func (a *apiserver) up() {
	a.t.Helper()
	l, err := net.Listen("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	a.server = &http.Server{Handler: a}
	server := a.server
	a.mu.Unlock()
	go func() { _ = server.Serve(l) }()
}

// down ends it, with all its connections. What it keeps stays.
func (a *apiserver) down() {
	a.mu.Lock()
	server := a.server
	a.server = nil
	a.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

// resetWatches ends every watch.
func (a *apiserver) resetWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cut)
	a.cut = make(chan struct{})
}

// forget ends every watch, makes changes, and forgets what they were: the watches that follow are too old. Gone names a Service.
func (a *apiserver) forget(text, gone string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cut)
	a.cut = make(chan struct{})
	a.store(text)
	a.drop("/v1/services", gone)
	a.version++
	a.forgotten, a.events = a.version, nil
}

// watchedFor is how long a watch of Services has lasted. One that ends sooner than a second is not gone on with.
func (a *apiserver) watchedFor() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.watched["services"])
}

// apply writes objects in YAML, as kubectl would. It works while the server is down, too: others may reach it.
func (a *apiserver) apply(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(text)
}

// store is apply by who holds the lock.
func (a *apiserver) store(text string) {
	a.t.Helper()
	for _, document := range strings.Split(text, "---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			a.t.Fatal(err)
		}
		if o == nil {
			continue
		}
		gv, kind := o["apiVersion"].(string), o["kind"].(string)
		if !strings.Contains(gv, "/") {
			gv = "/" + gv
		}
		for collection, r := range a.kinds {
			if r.Kind == kind && strings.HasPrefix(collection, gv+"/") {
				a.put(collection, nameIn(o), o)
			}
		}
	}
}

// remove deletes an object: "/v1/services", "shop/web".
func (a *apiserver) remove(collection, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(collection, name)
}

// find returns an object, or nil.
func (a *apiserver) find(collection, name string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.objects[collection+" "+name]
}

func metaOf(o map[string]any) map[string]any {
	m, _ := o["metadata"].(map[string]any)
	if m == nil {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

func nameIn(o map[string]any) string {
	m := metaOf(o)
	namespace, _ := m["namespace"].(string)
	name, _ := m["name"].(string)
	return namespace + "/" + name
}

// put stores an object; the caller holds the lock. What was stored before is not changed: watches may be writing it.
func (a *apiserver) put(collection, name string, o map[string]any) map[string]any {
	old := a.objects[collection+" "+name]
	a.version++
	m := maps.Clone(metaOf(o))
	m["resourceVersion"] = strconv.Itoa(a.version)
	typ, generation := "ADDED", int64(1)
	if m["uid"] == nil {
		m["uid"] = fmt.Sprintf("uid-%d", a.version)
	}
	if old != nil {
		typ = "MODIFIED"
		was := metaOf(old)
		m["uid"], generation = was["uid"], was["generation"].(int64)
		if !reflect.DeepEqual(old["spec"], o["spec"]) {
			generation++
		}
	}
	m["generation"] = generation
	o = maps.Clone(o)
	o["metadata"] = m
	a.objects[collection+" "+name] = o
	a.tell(event{a.version, collection, name, typ, o})
	return o
}

func (a *apiserver) drop(collection, name string) {
	old := a.objects[collection+" "+name]
	if old == nil {
		return
	}
	a.version++
	delete(a.objects, collection+" "+name)
	gone := maps.Clone(old)
	m := maps.Clone(metaOf(old))
	m["resourceVersion"] = strconv.Itoa(a.version)
	gone["metadata"] = m
	a.tell(event{a.version, collection, name, "DELETED", gone})
}

func (a *apiserver) tell(e event) {
	a.events = append(a.events, e)
	close(a.changed)
	a.changed = make(chan struct{})
}

// request is a path, taken apart.
type request struct {
	collection, namespace, name, sub string
	of                               served
}

func (a *apiserver) parse(path string) (request, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := ""
	switch {
	case parts[0] == "apis" && len(parts) > 3:
		group, parts = parts[1], parts[2:]
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[1:]
	default:
		return request{}, false
	}
	version, rest := parts[0], parts[1:]
	var r request
	var known bool
	if rest[0] == "namespaces" && len(rest) > 2 {
		r.namespace, rest = rest[1], rest[2:]
	}
	r.collection = group + "/" + version + "/" + rest[0]
	r.of, known = a.kinds[r.collection]
	if len(rest) > 1 {
		r.name = r.namespace + "/" + rest[1]
	}
	if len(rest) > 2 {
		r.sub = rest[2]
	}
	return r, known
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, reason meta.StatusReason) {
	answer(w, code, meta.Status{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: meta.StatusFailure, Code: int32(code), Reason: reason, Message: string(reason)})
}

// ServeHTTP implements http.Handler.
func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, known := a.parse(r.URL.Path)
	query := r.URL.Query()
	_, only, _ := strings.Cut(query.Get("fieldSelector"), "metadata.name=")
	switch {
	case !known:
		a.discover(w, r.URL.Path)
	case query.Get("sendInitialEvents") != "":
		refuse(w, http.StatusUnprocessableEntity, meta.StatusReasonInvalid)
	case query.Get("watch") != "":
		a.watch(w, r, q, only)
	case r.Method == http.MethodGet && q.name == "":
		a.list(w, q, only)
	case r.Method == http.MethodGet:
		if o := a.find(q.collection, q.name); o != nil {
			answer(w, http.StatusOK, o)
			return
		}
		refuse(w, http.StatusNotFound, meta.StatusReasonNotFound)
	default:
		a.write(w, r, q)
	}
}

// discover says what there is.
func (a *apiserver) discover(w http.ResponseWriter, path string) {
	groups := map[string]map[string][]meta.APIResource{}
	for _, r := range a.kinds {
		if groups[r.Group] == nil {
			groups[r.Group] = map[string][]meta.APIResource{}
		}
		groups[r.Group][r.Version] = append(groups[r.Group][r.Version], meta.APIResource{Name: r.plural, Kind: r.Kind, Namespaced: r.namespaced, Verbs: meta.Verbs{"get", "list", "watch"}})
	}
	named := func(name string) meta.APIGroup {
		g := meta.APIGroup{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "APIGroup"}, Name: name}
		for _, v := range slices.Sorted(maps.Keys(groups[name])) {
			g.Versions = append(g.Versions, meta.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
		}
		g.PreferredVersion = g.Versions[0]
		return g
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/api":
		answer(w, http.StatusOK, meta.APIVersions{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "APIVersions"}, Versions: []string{"v1"}})
	case path == "/apis":
		list := meta.APIGroupList{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
		for name := range groups {
			if name != "" {
				list.Groups = append(list.Groups, named(name))
			}
		}
		answer(w, http.StatusOK, list)
	case parts[0] == "apis" && len(parts) == 2 && groups[parts[1]] != nil:
		answer(w, http.StatusOK, named(parts[1]))
	case path == "/api/v1":
		answer(w, http.StatusOK, meta.APIResourceList{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: "v1", APIResources: groups[""]["v1"]})
	case parts[0] == "apis" && len(parts) == 3 && groups[parts[1]][parts[2]] != nil:
		answer(w, http.StatusOK, meta.APIResourceList{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: parts[1] + "/" + parts[2], APIResources: groups[parts[1]][parts[2]]})
	default:
		refuse(w, http.StatusNotFound, meta.StatusReasonNotFound)
	}
}

// matches reports whether an object is one of those that are asked for.
func (q request) matches(name, only string) bool {
	namespace, base, _ := strings.Cut(name, "/")
	return (q.namespace == "" || q.namespace == namespace) && (only == "" || only == base)
}

func (a *apiserver) list(w http.ResponseWriter, q request, only string) {
	a.mu.Lock()
	items := []any{}
	for key, o := range a.objects {
		if collection, name, _ := strings.Cut(key, " "); collection == q.collection && q.matches(name, only) {
			items = append(items, o)
		}
	}
	version := a.version
	a.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"apiVersion": q.of.GroupVersion().String(), "kind": q.of.Kind + "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(version)}, "items": items})
}

func (a *apiserver) watch(w http.ResponseWriter, r *http.Request, q request, only string) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := json.NewEncoder(w)
	a.mu.Lock()
	cut := a.cut
	a.watched[q.of.plural] = time.Now()
	a.mu.Unlock()
	for {
		a.mu.Lock()
		changed, forgotten := a.changed, from < a.forgotten
		if cut != a.cut {
			a.mu.Unlock()
			return
		}
		if forgotten {
			a.expired[q.of.plural]++
		}
		at, _ := slices.BinarySearchFunc(a.events, from+1, func(e event, v int) int { return e.version - v })
		news := slices.Clone(a.events[at:])
		a.mu.Unlock()
		if forgotten {
			_ = out.Encode(map[string]any{"type": "ERROR", "object": meta.Status{TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: meta.StatusFailure,
				Code: http.StatusGone, Reason: meta.StatusReasonExpired, Message: fmt.Sprintf("too old resource version: %d", from)}})
			return
		}
		for _, e := range news {
			if from = e.version; e.collection == q.collection && q.matches(e.name, only) {
				if out.Encode(map[string]any{"type": e.typ, "object": e.object}) != nil {
					return
				}
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-cut:
			return
		case <-changed:
		}
	}
}

// read takes an object out of a request, in JSON or in protobuf.
func read(r *http.Request) (map[string]any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var o map[string]any
	if !strings.Contains(r.Header.Get("Content-Type"), "protobuf") {
		err = json.Unmarshal(data, &o)
		return o, err
	}
	typed, gvk, err := clientscheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		return nil, err
	}
	o, err = runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err == nil {
		o["apiVersion"], o["kind"] = gvk.GroupVersion().String(), gvk.Kind
	}
	return o, err
}

// laid is a with what b says instead, field by field, as a merge patch does.
func laid(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		under, isMap := v.(map[string]any)
		was, wasMap := out[k].(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isMap && wasMap:
			out[k] = laid(was, under)
		default:
			out[k] = v
		}
	}
	return out
}

func (a *apiserver) write(w http.ResponseWriter, r *http.Request, q request) {
	o, err := read(r)
	if err != nil && r.Method != http.MethodDelete {
		refuse(w, http.StatusBadRequest, meta.StatusReasonBadRequest)
		return
	}
	if q.of.Kind == "TokenReview" {
		answer(w, http.StatusCreated, review(o))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.name == "" {
		m := metaOf(o)
		if q.namespace != "" {
			m["namespace"] = q.namespace
		}
		q.name = nameIn(o)
	}
	old := a.objects[q.collection+" "+q.name]
	version := ""
	if o != nil {
		version, _ = metaOf(o)["resourceVersion"].(string)
	}
	switch {
	case r.Method == http.MethodPost && old != nil:
		refuse(w, http.StatusConflict, meta.StatusReasonAlreadyExists)
	case r.Method != http.MethodPost && old == nil && r.Header.Get("Content-Type") != "application/apply-patch+yaml":
		refuse(w, http.StatusNotFound, meta.StatusReasonNotFound)
	case r.Method == http.MethodDelete:
		a.drop(q.collection, q.name)
		answer(w, http.StatusOK, old)
	case old != nil && version != "" && version != metaOf(old)["resourceVersion"]:
		refuse(w, http.StatusConflict, meta.StatusReasonConflict)
	case r.Method == http.MethodPatch:
		answer(w, http.StatusOK, a.put(q.collection, q.name, laid(old, o)))
	case q.sub == "status":
		next := maps.Clone(old)
		next["status"] = o["status"]
		answer(w, http.StatusOK, a.put(q.collection, q.name, next))
	default:
		answer(w, http.StatusOK, a.put(q.collection, q.name, o))
	}
}

// review believes tokens of the form "namespace account pod uid", and "namespace account" for nobody in particular.
func review(o map[string]any) authentication.TokenReview {
	out := authentication.TokenReview{TypeMeta: meta.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}}
	spec, _ := o["spec"].(map[string]any)
	token, _ := spec["token"].(string)
	parts := strings.Split(token, "~")
	if len(parts) == 2 {
		out.Status = authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{wire.TokenAudience},
			User: authentication.UserInfo{Username: "system:serviceaccount:" + parts[0] + ":" + parts[1]}}
	}
	if len(parts) == 4 {
		out.Status = authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{wire.TokenAudience}, User: authentication.UserInfo{
			Username: "system:serviceaccount:" + parts[0] + ":" + parts[1],
			Extra:    map[string]authentication.ExtraValue{"authentication.kubernetes.io/pod-name": {parts[2]}, "authentication.kubernetes.io/pod-uid": {parts[3]}}}}
	}
	return out
}
