package install

import (
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/tools/clientcmd"
)

// inNamespace makes Helm put a chart's objects into a namespace, whatever the kubeconfig's context says.
type inNamespace struct {
	genericclioptions.RESTClientGetter
	namespace string
}

// ToRawKubeConfigLoader implements genericclioptions.RESTClientGetter.
func (g inNamespace) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return override{g.RESTClientGetter.ToRawKubeConfigLoader(), g.namespace}
}

// loader is an alias: a field of the interface's own name would hide its method.
type loader = clientcmd.ClientConfig

// override is a loader with a namespace of its own.
type override struct {
	loader
	namespace string
}

// Namespace implements clientcmd.ClientConfig.
func (o override) Namespace() (string, bool, error) { return o.namespace, true, nil }
