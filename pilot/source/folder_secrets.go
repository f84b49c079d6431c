package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// secretsOf are the Secrets among YAML documents, by namespace/name. Lists are not looked into.
func secretsOf(text []byte) (map[string]model.Secret, error) {
	out := map[string]model.Secret{}
	for docs := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading secrets: %w", err)
		}
		var kind metav1.TypeMeta
		if yaml.Unmarshal(doc, &kind) != nil || kind.APIVersion != "v1" || kind.Kind != "Secret" {
			continue
		}
		var s corev1.Secret
		if err := yaml.UnmarshalStrict(doc, &s); err != nil {
			return nil, fmt.Errorf("reading a secret: %w", redacted(err))
		}
		for key, value := range s.StringData {
			if s.Data == nil {
				s.Data = map[string][]byte{}
			}
			s.Data[key] = []byte(value)
		}
		if s.Namespace == "" {
			s.Namespace = metav1.NamespaceDefault
		}
		out[s.Namespace+"/"+s.Name] = contentOf(&s)
	}
}

// redacted says no more of an error than that there is one: its text may hold what it was about.
func redacted(error) error { return errors.New("it is no Secret of v1") }
