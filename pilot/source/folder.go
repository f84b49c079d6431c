package source

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	mesh "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// FolderOptions says where to read.
type FolderOptions struct {
	Dir  string
	Mesh inputs.Mesh // the settings' frame, as in Options
	Log  *slog.Logger
}

// Folder reads the YAML files of a folder, with those below it, in place of a cluster. Every second it looks for files that came, went or changed;
// who writes them is to put each in place by a rename. A folder in which a file cannot be read stays as it was.
type Folder struct {
	options             FolderOptions
	snapshot, endpoints func(*inputs.Inputs)

	mu      sync.Mutex
	files   map[string]*folderFile // by path
	pods    map[string]*corev1.Pod // by namespace/name
	secrets map[string]model.Secret
	changed func(namespace, name string)
}

// folderFile is one file as it was read. Its objects keep their pointers while it does not change.
type folderFile struct {
	modified time.Time
	size     int64
	in       *inputs.Inputs
	secrets  map[string]model.Secret // by namespace/name
}

// lookEvery is how often a Folder looks for changes.
const lookEvery = time.Second

// NewFolder prepares a Folder. Nothing is read before Run.
func NewFolder(o FolderOptions) *Folder {
	if o.Mesh.Config == nil {
		o.Mesh.Config = &mesh.MeshConfig{}
	}
	return &Folder{options: o, changed: func(string, string) {}}
}

// OnInputs registers who is told, one after the other, of each state of the folder. It must be called before Run.
func (f *Folder) OnInputs(snapshot, endpoints func(*inputs.Inputs)) {
	f.snapshot, f.endpoints = snapshot, endpoints
}

// Run reads until ctx ends. Nobody is told of anything before the folder was read once as a whole.
func (f *Folder) Run(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		next, err := f.look()
		switch {
		case err != nil && err.Error() != said:
			f.options.Log.Error("a file cannot be read; all stays as it was", "error", err)
			said = err.Error()
		case err == nil:
			said = ""
		}
		if err == nil && next != nil {
			in := f.adopt(next)
			f.options.Log.Info("read the folder", "files", len(next), "services", len(in.Services), "pods", len(in.Pods))
			f.snapshot(in)
			f.endpoints(in)
		}
		wait(ctx, lookEvery)
	}
	return nil
}

// look returns the files as they are now, or nil where nothing changed.
func (f *Folder) look() (map[string]*folderFile, error) {
	next, news := map[string]*folderFile{}, f.files == nil
	err := filepath.WalkDir(f.options.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != f.options.Dir && strings.HasPrefix(d.Name(), "."): // what is about to be put in place
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			return nil
		}
		info, err := os.Stat(path) // behind a link, too
		if err != nil {
			return err
		}
		if old := f.files[path]; old != nil && old.modified.Equal(info.ModTime()) && old.size == info.Size() {
			next[path] = old
			return nil
		}
		news = true
		next[path], err = readFile(path, info)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading folder %s: %w", f.options.Dir, err)
	}
	if !news && len(next) == len(f.files) {
		return nil, nil
	}
	return next, nil
}

func readFile(path string, info fs.FileInfo) (*folderFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := &folderFile{modified: info.ModTime(), size: info.Size()}
	if out.in, err = FromYAML(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if out.secrets, err = secretsOf(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// adopt puts files in force and returns their objects, in the order of their names.
func (f *Folder) adopt(next map[string]*folderFile) *inputs.Inputs {
	in := &inputs.Inputs{}
	settings := f.options.Mesh
	pods, secrets := map[string]*corev1.Pod{}, map[string]model.Secret{}
	for _, path := range slices.Sorted(maps.Keys(next)) {
		file := next[path]
		join(in, file.in)
		if !file.in.Mesh.Silent() {
			settings = settings.SettingsOf(file.in.Mesh)
		}
		maps.Copy(secrets, file.secrets)
	}
	for _, p := range in.Pods {
		pods[p.Namespace+"/"+p.Name] = p
	}
	in.Mesh = &settings
	f.mu.Lock()
	last := f.secrets
	f.files, f.pods, f.secrets = next, pods, secrets
	f.mu.Unlock()
	for name, s := range secrets {
		if old, known := last[name]; !known || !sameSecret(old, s) {
			f.changed(splitName(name))
		}
	}
	for name := range last {
		if _, kept := secrets[name]; !kept {
			f.changed(splitName(name))
		}
	}
	return in
}

// Join adds the objects of one file, of whatever kind, to those of others, and takes its settings of the mesh, where it has any.
func Join(to, from *inputs.Inputs) {
	join(to, from)
	if m := from.Mesh; m != nil && !m.Silent() {
		settings := to.Mesh.SettingsOf(m)
		to.Mesh = &settings
	}
}

// join adds the objects of one file, of whatever kind, to those of others.
func join(to, from *inputs.Inputs) {
	into, more := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range into.NumField() {
		if list := into.Field(i); list.Kind() == reflect.Slice {
			list.Set(reflect.AppendSlice(list, more.Field(i)))
		}
	}
}

// Pod finds a pod; the error for a missing one is a NotFound, as a cluster's.
func (f *Folder) Pod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pods[namespace+"/"+name]; p != nil {
		return p, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
}

// Get returns a Secret of the folder. An error says that it is missing.
func (f *Folder) Get(_ context.Context, namespace, name string) (model.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.secrets[namespace+"/"+name]
	if !known {
		return s, fmt.Errorf("reading secret %s/%s: %w", namespace, name, model.ErrNoSecret)
	}
	return s, nil
}

// OnChange registers what to call after a Secret changed. It must be called before Run.
func (f *Folder) OnChange(changed func(namespace, name string)) { f.changed = changed }

func splitName(name string) (namespace, rest string) {
	namespace, rest, _ = strings.Cut(name, "/")
	return namespace, rest
}

func sameSecret(a, b model.Secret) bool {
	return bytes.Equal(a.Certificate, b.Certificate) && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.CA, b.CA) && bytes.Equal(a.CRL, b.CRL) && bytes.Equal(a.Staple, b.Staple)
}
