// Package checks reads from xDS messages how hosts of a cluster are asked whether they are healthy. It asks nobody.
package checks

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/check"
)

// Read reads how hosts are checked.
func Read(in *cluster.Cluster, out *upstream.Config) error {
	all := in.GetHealthChecks()
	switch {
	case len(all) == 0:
		return nil
	case len(all) > 1:
		return values.Wrong("health_checks[1]", "more than one is not implemented")
	case out.Discovery == upstream.OriginalDst, out.Discovery == upstream.Named:
		return values.Wrong("health_checks", "not implemented for clusters that go where requests say")
	}
	c, err := intervals(all[0])
	if err == nil {
		err = howChecked(all[0], c)
	}
	if err != nil {
		return values.Under("health_checks[0]", err)
	}
	out.Health = c
	return nil
}

// noTraffic is Envoy's interval for clusters that carry nothing.
const noTraffic = time.Minute

func intervals(in *core.HealthCheck) (*check.Config, error) {
	c := &check.Config{Timeout: in.GetTimeout().AsDuration(), Interval: in.GetInterval().AsDuration(), FirstJitter: in.GetInitialJitter().AsDuration(),
		Jitter: in.GetIntervalJitter().AsDuration(), JitterPercent: in.GetIntervalJitterPercent(), NoTraffic: values.Duration(in.GetNoTrafficInterval(), noTraffic),
		UnfitAfter: values.Number(in.GetUnhealthyThreshold(), 0), FitAfter: values.Number(in.GetHealthyThreshold(), 0), Reuse: values.Boolean(in.GetReuseConnection(), true)}
	c.NoTrafficFit = values.Duration(in.GetNoTrafficHealthyInterval(), c.NoTraffic)
	c.UnfitInterval = values.Duration(in.GetUnhealthyInterval(), c.Interval)
	c.UnfitEdge = values.Duration(in.GetUnhealthyEdgeInterval(), c.UnfitInterval)
	c.FitEdge = values.Duration(in.GetHealthyEdgeInterval(), c.Interval)
	switch {
	case c.Timeout <= 0:
		return nil, values.Wrong("timeout", "required, and more than 0")
	case c.Interval <= 0:
		return nil, values.Wrong("interval", "required, and more than 0")
	case in.GetUnhealthyThreshold() == nil:
		return nil, values.Wrong("unhealthy_threshold", "required")
	case in.GetHealthyThreshold() == nil:
		return nil, values.Wrong("healthy_threshold", "required")
	}
	return c, nil
}

func howChecked(in *core.HealthCheck, c *check.Config) error {
	switch k := in.GetHealthChecker().(type) {
	case *core.HealthCheck_HttpHealthCheck_:
		return values.Within("http_health_check", httpChecker(k.HttpHealthCheck, c))
	case *core.HealthCheck_TcpHealthCheck_:
		return values.Within("tcp_health_check", tcpChecker(k.TcpHealthCheck, c))
	case *core.HealthCheck_GrpcHealthCheck_:
		c.Kind, c.Service, c.Authority = check.GRPC, k.GrpcHealthCheck.GetServiceName(), k.GrpcHealthCheck.GetAuthority()
		return nil
	}
	return values.Wrong("health_checker", "one is needed that is implemented")
}

func httpChecker(in *core.HealthCheck_HttpHealthCheck, c *check.Config) error {
	c.Kind, c.Authority, c.Path, c.Method = check.HTTP, in.GetHost(), in.GetPath(), "GET"
	switch in.GetCodecClientType() {
	case typev3.CodecClientType_HTTP1:
	case typev3.CodecClientType_HTTP2:
		c.HTTP2 = true
	default:
		return values.Wrong("codec_client_type", "%s is not implemented", in.GetCodecClientType())
	}
	switch in.GetMethod() {
	case core.RequestMethod_METHOD_UNSPECIFIED:
	case core.RequestMethod_GET, core.RequestMethod_HEAD, core.RequestMethod_OPTIONS, core.RequestMethod_DELETE, core.RequestMethod_TRACE:
		c.Method = in.GetMethod().String()
	default:
		return values.Wrong("method", "%s has a body", in.GetMethod())
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path+c.Authority, " \r\n\x00") {
		return values.Wrong("path", "%q is no path, or %q no host", c.Path, c.Authority)
	}
	for i, h := range in.GetRequestHeadersToAdd() {
		name, value := strings.ToLower(h.GetHeader().GetKey()), h.GetHeader().GetValue()
		if name == "" || strings.ContainsAny(name, ": \r\n\x00") || strings.ContainsAny(value, "%\r\n\x00") {
			return values.Wrong(fmt.Sprintf("request_headers_to_add[%d]", i), "only plain names and values are implemented")
		}
		c.Headers = append(c.Headers, [2]string{name, value})
	}
	var err error
	if c.Expected, err = statuses("expected_statuses", in.GetExpectedStatuses()); err != nil {
		return err
	}
	if len(c.Expected) == 0 {
		c.Expected = []check.StatusRange{{From: 200, To: 201}}
	}
	c.Retriable, err = statuses("retriable_statuses", in.GetRetriableStatuses())
	return err
}

func statuses(field string, in []*typev3.Int64Range) ([]check.StatusRange, error) {
	var out []check.StatusRange
	for i, r := range in {
		if r.GetStart() < 100 || r.GetEnd() > 600 || r.GetStart() >= r.GetEnd() {
			return nil, values.Wrong(fmt.Sprintf("%s[%d]", field, i), "[%d, %d) is no range within [100, 600)", r.GetStart(), r.GetEnd())
		}
		out = append(out, check.StatusRange{From: int(r.GetStart()), To: int(r.GetEnd())})
	}
	return out, nil
}

func tcpChecker(in *core.HealthCheck_TcpHealthCheck, c *check.Config) error {
	c.Kind = check.TCP
	var err error
	if in.GetSend() != nil {
		if c.Send, err = payload(in.GetSend()); err != nil {
			return values.Wrong("send.text", "%w", err)
		}
	}
	for i, r := range in.GetReceive() {
		block, err := payload(r)
		if err != nil || len(block) == 0 {
			return values.Wrong(fmt.Sprintf("receive[%d].text", i), "%q is no text in hexadecimal digits", r.GetText())
		}
		c.Receive = append(c.Receive, block)
	}
	return nil
}

// payload reads bytes, or hexadecimal digits.
func payload(in *core.HealthCheck_Payload) ([]byte, error) {
	if b, ok := in.GetPayload().(*core.HealthCheck_Payload_Binary); ok {
		return b.Binary, nil
	}
	return hex.DecodeString(in.GetText())
}
