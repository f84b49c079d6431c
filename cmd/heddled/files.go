package main

import (
	"context"
	"fmt"
	"time"

	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// runFiles runs a control plane that knows no Kubernetes until ctx ends.
func runFiles(ctx context.Context, c config) error {
	h, err := assembleFiles(ctx, c)
	if err != nil {
		return err
	}
	h.log.Info("heddled starts without Kubernetes", "version", version, "folder", c.files.objects, "trustDomain", c.trustDomain)
	return lifecycle.Run(ctx, h.fileComponents()...)
}

// assembleFiles makes pilot and certificate authority over files.
func assembleFiles(ctx context.Context, c config) (*heddled, error) {
	h, err := observed(ctx, c)
	if err != nil {
		return nil, err
	}
	root, err := rootOfFolder(ctx, c)
	if err != nil {
		return nil, err
	}
	folder := source.NewFolder(source.FolderOptions{Dir: c.files.objects, Mesh: c.mesh(), Log: h.log.With("part", "source")})
	h.ca, err = issuing(c, root, h.log, h.metrics, attest.Config{Reviewer: attest.TokenFile{Path: c.files.tokens, Pods: folder.Pod}, Audience: c.audience,
		TrustDomain: c.trustDomain, Aliases: c.aliases, Cached: folder.Pod, Live: folder.Pod})
	if err != nil {
		return nil, err
	}
	// The Secrets in the folder are its gateways' own: nobody else could have written them there.
	everybody := func(context.Context, model.Name, string) (bool, error) { return true, nil }
	p, err := publishing(h, publish.Options{Secrets: folder, MayRead: everybody}, nil)
	if err != nil {
		return nil, err
	}
	p.source, p.secrets, p.tell = folder.Run, untilDone, p.logReport()
	folder.OnInputs(p.translator(), p.endpointer())
	h.pilot = p
	return h, nil
}

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// rootOfFolder reads the root, or makes it, and publishes its certificates.
func rootOfFolder(ctx context.Context, c config) (*authority.Authority, error) {
	domain, aliases, err := c.domains()
	if err != nil {
		return nil, err
	}
	folder := authority.Folder{Dir: c.files.authority}
	root, err := authority.Ensure(ctx, folder, domain, time.Now(), func(context.Context) error { return nil }, aliases...)
	if err != nil {
		return nil, err
	}
	return root, folder.Publish(root.BundlePEM())
}

// logReport logs what is wrong with objects, which have no status, each when it is not what was said last.
func (p *pilot) logReport() func(report.Report) {
	said := map[report.Ref]string{}
	return func(r report.Report) {
		next := map[report.Ref]string{}
		for _, e := range r.Entries {
			if next[e.Ref] = e.String(); len(e.Issues) > 0 && next[e.Ref] != said[e.Ref] {
				p.log.Warn("something is wrong with an object", "kind", e.Ref.Kind, "namespace", e.Ref.Namespace, "name", e.Ref.Name, "issues", fmt.Sprint(e.Issues))
			}
		}
		said = next
	}
}

// fileComponents are in the order of their start, as those of a heddled in a cluster.
func (h *heddled) fileComponents() []lifecycle.Component {
	state, at := &health{}, h.config.serve
	all := []lifecycle.Component{
		{Name: "spans", Run: func(ctx context.Context) error { return h.traces.Run(ctx, stopGrace) }},
		webServer{name: "health", address: at.health, handler: state.handler(), log: h.log}.component(),
		webServer{name: "monitoring", address: at.web, handler: h.monitoring(), log: h.log}.component(),
	}
	all = append(all, h.pilot.components()...)
	return append(all, rpcServer("discovery", at.discovery, h.secureRPC()), state.component())
}
