package cluster

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/tools/clientcmd"
)

// unusable says in a sentence why a kubeconfig gives no client.
func unusable(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return fmt.Errorf("%w: there is no kubeconfig; set KUBECONFIG or give --kubeconfig", ErrNoCluster)
	}
	return fmt.Errorf("%w: the kubeconfig cannot be used: %s", ErrNoCluster, sentence(err.Error()))
}

// unreachable says in a sentence why the cluster at host gave no answer.
func unreachable(host string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %s does not accept this context's credentials", ErrNoCluster, host)
	case utilnet.IsConnectionRefused(err):
		return fmt.Errorf("%w: nothing listens at %s; is the cluster running, and is this its context?", ErrNoCluster, host)
	default:
		return fmt.Errorf("%w: %s cannot be reached: %s", ErrNoCluster, host, sentence(err.Error()))
	}
}

// Explain makes one sentence of an error that came from a cluster. Rights that are missing are named as such.
func Explain(err error) error {
	var status apierrors.APIStatus
	switch {
	case err == nil || errors.Is(err, ErrNoCluster):
		return err
	case apierrors.IsForbidden(err) && errors.As(err, &status):
		return fmt.Errorf("missing rights: %s", sentence(status.Status().Message))
	case apierrors.IsUnauthorized(err):
		return errors.New("the cluster does not accept this context's credentials")
	}
	return errors.New(sentence(err.Error()))
}

// sentence joins the lines of a text and drops its full stop.
func sentence(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ".")
}
