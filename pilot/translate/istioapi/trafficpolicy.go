package istioapi

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func (r *reader) connectionPool(path string, p *networking.ConnectionPoolSettings) *model.ConnectionPool {
	if p == nil {
		return nil
	}
	out := &model.ConnectionPool{}
	count := func(name string, n int32) uint32 { return values.Count(&r.Log, path+name, n) }
	if t := p.Tcp; t != nil {
		out.MaxConnections = count(".tcp.maxConnections", t.MaxConnections)
		out.ConnectTimeout = values.DurationOr(&r.Log, path+".tcp.connectTimeout", t.ConnectTimeout, 0)
		out.TCPIdleTimeout = values.Duration(&r.Log, path+".tcp.idleTimeout", t.IdleTimeout)
		out.MaxConnectionDuration = r.positive(path+".tcp.maxConnectionDuration", t.MaxConnectionDuration, false)
		if k := t.TcpKeepalive; k != nil {
			out.Keepalive = &model.Keepalive{Probes: k.Probes, Time: values.DurationOr(&r.Log, path+".tcp.tcpKeepalive.time", k.Time, 0),
				Interval: values.DurationOr(&r.Log, path+".tcp.tcpKeepalive.interval", k.Interval, 0)}
		}
	}
	if h := p.Http; h != nil {
		out.MaxPendingRequests = count(".http.http1MaxPendingRequests", h.Http1MaxPendingRequests)
		out.MaxRequests = count(".http.http2MaxRequests", h.Http2MaxRequests)
		out.MaxRequestsPerConnection = count(".http.maxRequestsPerConnection", h.MaxRequestsPerConnection)
		out.MaxRetries = count(".http.maxRetries", h.MaxRetries)
		out.HTTPIdleTimeout = values.Duration(&r.Log, path+".http.idleTimeout", h.IdleTimeout)
		out.MaxConcurrentStreams = count(".http.maxConcurrentStreams", h.MaxConcurrentStreams)
		if k := h.Http2KeepAlive; k != nil {
			out.PingInterval = r.positive(path+".http.http2KeepAlive.interval", k.Interval, true)
			out.PingTimeout = r.positive(path+".http.http2KeepAlive.timeout", k.Timeout, true)
		}
		out.UpgradeHTTP2 = h.H2UpgradePolicy == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE
		out.KeepHTTP1 = h.H2UpgradePolicy == networking.ConnectionPoolSettings_HTTPSettings_DO_NOT_UPGRADE
		out.UseClientProtocol = h.UseClientProtocol
		if out.UpgradeHTTP2 && out.UseClientProtocol {
			r.Errorf(path+".http.useClientProtocol", "contradicts h2UpgradePolicy UPGRADE")
		}
	}
	return out
}

// positive reads a duration that, where it is given, is not zero.
func (r *reader) positive(path string, d *durationpb.Duration, required bool) model.Duration {
	out := values.DurationOr(&r.Log, path, d, 0)
	if out == 0 && (required || d != nil) {
		r.Errorf(path, "a duration of at least 1ms expected")
	}
	return out
}

// outlier reads outlier detection. Its defaults are Istio's.
func (r *reader) outlier(path string, o *networking.OutlierDetection) *model.OutlierDetection {
	if o == nil {
		return nil
	}
	out := &model.OutlierDetection{
		Consecutive5xx:     5,
		SplitLocalOrigin:   o.SplitExternalLocalOriginErrors,
		Interval:           values.DurationOr(&r.Log, path+".interval", o.Interval, 10*time.Second),
		BaseEjection:       values.DurationOr(&r.Log, path+".baseEjectionTime", o.BaseEjectionTime, 30*time.Second),
		MaxEjectionPercent: 10,
		ConsecutiveGateway: o.ConsecutiveGatewayErrors.GetValue(),
	}
	if o.Consecutive_5XxErrors != nil {
		out.Consecutive5xx = o.Consecutive_5XxErrors.Value
	}
	if out.SplitLocalOrigin {
		out.ConsecutiveLocalOrigin = 5
		if o.ConsecutiveLocalOriginFailures != nil {
			out.ConsecutiveLocalOrigin = o.ConsecutiveLocalOriginFailures.Value
		}
	} else if o.ConsecutiveLocalOriginFailures != nil {
		r.Errorf(path+".consecutiveLocalOriginFailures", "needs splitExternalLocalOriginErrors")
	}
	if o.MaxEjectionPercent != 0 {
		out.MaxEjectionPercent = uint32(r.percent(path+".maxEjectionPercent", float64(o.MaxEjectionPercent)))
	}
	out.MinHealthPercent = uint32(r.percent(path+".minHealthPercent", float64(o.MinHealthPercent)))
	for i, code := range o.OutlierDetectionHttpErrorCodes {
		if code < 100 || code > 599 {
			r.Errorf(r.at(path+".outlierDetectionHttpErrorCodes", i), "%d is not a status", code)
		}
	}
	out.ErrorCodes = slices.Compact(slices.Sorted(slices.Values(o.OutlierDetectionHttpErrorCodes)))
	if out.Interval == 0 || out.BaseEjection == 0 {
		r.Errorf(path, "interval and baseEjectionTime must be at least 1ms")
	}
	return out
}

// ClientTLS reads settings that stand on their own, as the mesh's do; false: they are refused. Nil: there are none.
func ClientTLS(log *report.Log, path string, t *networking.ClientTLSSettings) (*model.ClientTLS, bool) {
	r := &reader{}
	out := r.clientTLS(path, t)
	if t.GetMode() == networking.ClientTLSSettings_ISTIO_MUTUAL {
		r.Errorf(path+".mode", "ISTIO_MUTUAL: nobody knows the identities of servers that are in no registry")
	}
	log.Issues = append(log.Issues, r.Issues...)
	return out, !r.Failed()
}

func (r *reader) clientTLS(path string, t *networking.ClientTLSSettings) *model.ClientTLS {
	if t == nil {
		return nil
	}
	out := &model.ClientTLS{SNI: t.Sni, SANs: t.SubjectAltNames}
	switch t.Mode {
	case networking.ClientTLSSettings_DISABLE:
		out.Mode = model.TLSDisable
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
		out.Mode = model.TLSIstioMutual
		if t.CredentialName != "" || t.CaCertificates != "" || t.CaCrl != "" || t.GetInsecureSkipVerify().GetValue() || clientFiles(t) {
			r.Warnf(path, "without effect, but for sni and subjectAltNames: mode ISTIO_MUTUAL uses the mesh's certificates")
		}
	case networking.ClientTLSSettings_SIMPLE:
		out.Mode = model.TLSSimple
		r.originated(path, t, out)
		switch {
		case clientFiles(t) && t.CredentialName != "":
			r.Errorf(path, "only one of credentialName and files may be given")
		case clientFiles(t):
			r.Warnf(path, "clientCertificate and privateKey are without effect: no certificate is shown but with mode MUTUAL")
		}
	case networking.ClientTLSSettings_MUTUAL:
		out.Mode = model.TLSMutual
		r.originated(path, t, out)
		out.ClientCertificate, out.PrivateKey = t.ClientCertificate, t.PrivateKey
		both := t.ClientCertificate != "" && t.PrivateKey != ""
		if files := clientFiles(t); files == (t.CredentialName != "") || files && !both {
			r.Errorf(path, "mode MUTUAL needs either credentialName or both clientCertificate and privateKey")
		}
	default:
		out.Mode = model.TLSRefused
		r.Errorf(path+".mode", "%s", fmt.Sprint(t.Mode))
	}
	return out
}

func clientFiles(t *networking.ClientTLSSettings) bool {
	return t.ClientCertificate != "" || t.PrivateKey != ""
}

// originated reads how servers outside of the mesh prove who they are.
func (r *reader) originated(path string, t *networking.ClientTLSSettings, out *model.ClientTLS) {
	out.CredentialName, out.CACertificates, out.CRL = t.CredentialName, t.CaCertificates, t.CaCrl
	out.InsecureSkipVerify = t.InsecureSkipVerify.GetValue()
	r.secretName(path+".credentialName", t.CredentialName)
	if t.CredentialName != "" && t.CaCertificates != "" {
		r.Errorf(path, "only one of credentialName and caCertificates may be given")
	}
	if t.CredentialName != "" && t.CaCrl != "" {
		r.Errorf(path+".caCrl", "with credentialName, what was revoked is part of the Secret")
	}
	if out.InsecureSkipVerify && t.CaCrl != "" {
		r.Warnf(path+".caCrl", "without effect: insecureSkipVerify leaves certificates unverified")
		out.CRL = ""
	}
	if out.InsecureSkipVerify && (t.CaCertificates != "" || len(t.SubjectAltNames) > 0) {
		r.Errorf(path+".insecureSkipVerify", "contradicts caCertificates and subjectAltNames")
	}
}
