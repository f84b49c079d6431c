package source

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// secretsWithin is how long the first read of a namespace's Secrets may take.
const secretsWithin = 5 * time.Second

// Secrets reads the Secrets of the namespaces in which gateways ask for them; each namespace is watched from its first Get on. The right to
// do so is granted namespace by namespace, beside the gateway.
type Secrets struct {
	kube kubernetes.Interface
	log  *slog.Logger

	mu         sync.Mutex
	ctx        context.Context // of Run; nil before
	namespaces map[string]*watched
	changed    func(namespace, name string)
}

// watched is a namespace whose Secrets are followed.
type watched struct {
	toolscache.SharedIndexInformer
	until time.Time // how long its first read is waited for
}

// NewSecrets returns a reader. It asks nothing before Run.
func NewSecrets(kube kubernetes.Interface, log *slog.Logger) *Secrets {
	return &Secrets{kube: kube, log: log, namespaces: map[string]*watched{}}
}

// OnChange registers what to call after a Secret changed or went. It must be called before Run.
func (s *Secrets) OnChange(f func(namespace, name string)) { s.changed = f }

// Run lets watches live until ctx ends.
func (s *Secrets) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Get returns a Secret. An error says that it is missing or cannot be read.
func (s *Secrets) Get(ctx context.Context, namespace, name string) (model.Secret, error) {
	w, err := s.watch(namespace)
	if err != nil {
		return model.Secret{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	if !w.HasSynced() && !toolscache.WaitForCacheSync(ctx.Done(), w.HasSynced) {
		return model.Secret{}, fmt.Errorf("reading secret %s/%s: the Secrets of namespace %s cannot be listed", namespace, name, namespace)
	}
	object, found, err := w.GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !found {
		return model.Secret{}, fmt.Errorf("reading secret %s/%s: %w", namespace, name, model.ErrNoSecret)
	}
	return contentOf(object.(*corev1.Secret)), nil
}

// watch returns the namespace, followed.
func (s *Secrets) watch(namespace string) (*watched, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.namespaces[namespace]; known != nil {
		return known, nil
	}
	if s.ctx == nil {
		return nil, fmt.Errorf("reading secrets of namespace %s: not started", namespace)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(s.kube, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "type!=helm.sh/release.v1" }))
	informer := factory.Core().V1().Secrets().Informer()
	_ = informer.SetTransform(relevant) // only an informer that runs refuses
	_ = informer.SetWatchErrorHandler(func(_ *toolscache.Reflector, err error) {
		s.log.Warn("cannot watch Secrets", "namespace", namespace, "error", err)
	})
	if _, err := informer.AddEventHandler(s.handler()); err != nil {
		return nil, fmt.Errorf("watching secrets of namespace %s: %w", namespace, err)
	}
	factory.Start(s.ctx.Done())
	w := &watched{informer, time.Now().Add(secretsWithin)}
	s.namespaces[namespace] = w
	return w, nil
}

func (s *Secrets) handler() toolscache.ResourceEventHandlerFuncs {
	tell := func(object any) {
		if secret, ok := object.(*corev1.Secret); ok && s.changed != nil {
			s.changed(secret.Namespace, secret.Name)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, object any) { tell(object) }, DeleteFunc: tell}
}

// stapleKey is where both kinds of Secret keep the OCSP response about their certificate.
const stapleKey = "tls.ocsp-staple"

// relevant keeps the keys that a gateway may need.
func relevant(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	kept := &corev1.Secret{Data: map[string][]byte{}}
	kept.Namespace, kept.Name, kept.ResourceVersion, kept.UID = secret.Namespace, secret.Name, secret.ResourceVersion, secret.UID
	for _, key := range []string{"tls.crt", "tls.key", "ca.crt", "ca.crl", stapleKey, "cert", "key", "cacert", "crl"} {
		if value := secret.Data[key]; len(value) > 0 {
			kept.Data[key] = value
		}
	}
	return kept, nil
}

// contentOf reads certificate and key, and roots with what they revoked, each from one set of keys: the generic one, or else that of
// kubernetes.io/tls. An OCSP response is about tls.crt, where there is one.
func contentOf(secret *corev1.Secret) model.Secret {
	data := secret.Data
	out := model.Secret{Certificate: data["tls.crt"], Key: data["tls.key"], CA: data["ca.crt"], CRL: data["ca.crl"], Staple: data[stapleKey]}
	if len(data["cert"]) > 0 && len(data["key"]) > 0 {
		if out.Certificate != nil {
			out.Staple = nil
		}
		out.Certificate, out.Key = data["cert"], data["key"]
	}
	if len(data["cacert"]) > 0 {
		out.CA, out.CRL = data["cacert"], data["crl"]
	}
	return out
}

// MayRead asks the API server whether a service account may read the Secrets of a namespace.
func (s *Secrets) MayRead(ctx context.Context, account model.Name, namespace string) (bool, error) {
	review, err := s.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + account.Namespace + ":" + account.Name,
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + account.Namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "list", Resource: "secrets"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("reviewing access of %s to the secrets of %s: %w", account, namespace, err)
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}
