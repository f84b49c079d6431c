// Package manifests holds what is installed: the Helm charts and the custom resource definitions, embedded. It renders nothing and
// talks to no cluster.
package manifests

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

//go:embed all:charts
var charts embed.FS

//go:embed crds/generated
var definitions embed.FS

const definitionsDir = "crds/generated"

// The charts.
const (
	Base         = "base"
	ControlPlane = "control-plane"
	Gateway      = "gateway"
)

// ErrNoDefinitions says that the binary was built before the definitions were generated.
var ErrNoDefinitions = errors.New("this build holds no custom resource definitions; run \"go run ./manifests/crds/gen\" and build again")

// Chart returns the named chart stamped with version. The definitions are not in it: Helm would neither upgrade them nor leave
// foreign ones alone, so that they are installed beside it (CRDs).
func Chart(name, version string) (*chart.Chart, error) {
	files, err := Files(name)
	if err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("loading chart %s: %w", name, err)
	}
	c.Metadata.Version = semver(version)
	c.Metadata.AppVersion = version
	return c, nil
}

// Export writes the named chart below dir for those who install with Helm itself. The definitions are in the base chart then: Helm
// installs those that are missing and touches no other.
func Export(name, version, dir string) error {
	c, err := Chart(name, version)
	if err != nil {
		return err
	}
	if name == Base {
		crds, err := CRDs(version)
		if err != nil {
			return err
		}
		for _, crd := range crds {
			text, err := Manifest(crd)
			if err != nil {
				return err
			}
			c.Files = append(c.Files, &common.File{Name: "crds/" + crd.Name + ".json", Data: text})
		}
	}
	if err := chartutil.SaveDir(c, dir); err != nil {
		return fmt.Errorf("writing chart %s: %w", name, err)
	}
	return nil
}

// Manifest is a definition as JSON to apply: without a status, which is the API server's to write.
func Manifest(crd *apiextensions.CustomResourceDefinition) ([]byte, error) {
	crd = crd.DeepCopy()
	crd.TypeMeta = meta.TypeMeta{APIVersion: apiextensions.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"}
	text, err := json.Marshal(crd)
	if err != nil {
		return nil, fmt.Errorf("marshalling definition %s: %w", crd.Name, err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("marshalling definition %s: %w", crd.Name, err)
	}
	delete(fields, "status")
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("marshalling definition %s: %w", crd.Name, err)
	}
	return out, nil
}

// Files are the files of a chart, sorted by name.
func Files(name string) ([]*archive.BufferedFile, error) {
	root := path.Join("charts", name)
	var files []*archive.BufferedFile
	err := fs.WalkDir(charts, root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := charts.ReadFile(file)
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(file, root+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading chart %s: %w", name, err)
	}
	return files, nil
}

// semver makes a chart version, which must be a semantic one, of any build's version.
func semver(version string) string {
	v := strings.TrimPrefix(version, "v")
	if v == "" || v[0] < '0' || v[0] > '9' {
		return "0.0.0-" + strings.Map(func(r rune) rune {
			if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '-'
		}, v)
	}
	return v
}

// CRDs returns the custom resource definitions that Heddle installs, sorted by name and stamped with version, or
// ErrNoDefinitions.
func CRDs(version string) ([]*apiextensions.CustomResourceDefinition, error) {
	entries, err := definitions.ReadDir(definitionsDir)
	if err != nil {
		return nil, fmt.Errorf("listing definitions: %w", err)
	}
	var all []*apiextensions.CustomResourceDefinition
	for _, entry := range entries {
		if path.Ext(entry.Name()) != ".json" {
			continue
		}
		crd, err := definition(entry.Name())
		if err != nil {
			return nil, err
		}
		if crd.Labels == nil {
			crd.Labels = map[string]string{}
		}
		crd.Labels[wire.VersionLabel] = label(version)
		all = append(all, crd)
	}
	if len(all) == 0 {
		return nil, ErrNoDefinitions
	}
	slices.SortFunc(all, func(a, b *apiextensions.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func definition(file string) (*apiextensions.CustomResourceDefinition, error) {
	text, err := definitions.ReadFile(path.Join(definitionsDir, file))
	if err != nil {
		return nil, fmt.Errorf("reading definition %s: %w", file, err)
	}
	crd := &apiextensions.CustomResourceDefinition{}
	if err := json.Unmarshal(text, crd); err != nil {
		return nil, fmt.Errorf("parsing definition %s: %w", file, err)
	}
	return crd, nil
}

// label makes a label value of a version: build metadata's plus is not allowed there.
func label(version string) string { return strings.ReplaceAll(version, "+", "_") }
