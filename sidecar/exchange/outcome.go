package exchange

import "strings"

// Flag is a set of response flags, as access logs and metrics print them (Envoy's %RESPONSE_FLAGS%).
type Flag uint32

// The flags, in the order in which a set prints.
const (
	FlagNoHealthyUpstream     Flag = 1 << iota // UH
	FlagUpstreamFailure                        // UF
	FlagUpstreamOverflow                       // UO
	FlagNoRoute                                // NR
	FlagRetriesExceeded                        // URX
	FlagNoCluster                              // NC
	FlagUpstreamTimeout                        // UT
	FlagDurationTimeout                        // DT
	FlagDownstreamTermination                  // DC
	FlagLocalReset                             // LR
	FlagRemoteReset                            // UR
	FlagUpstreamTermination                    // UC
	FlagDelayInjected                          // DI
	FlagFaultInjected                          // FI
	FlagRateLimited                            // RL
	FlagUnauthorized                           // UAEX
	FlagDownstreamProtocol                     // DPE
	FlagUpstreamProtocol                       // UPE
	FlagIdleTimeout                            // SI
	FlagUpstreamDuration                       // UMSDR
	FlagOverload                               // OM
	FlagDownstreamReset                        // DR
)

// flagNames is parallel to the constants above.
const flagNames = "UH UF UO NR URX NC UT DT DC LR UR UC DI FI RL UAEX DPE UPE SI UMSDR OM DR"

// longNames is parallel to flagNames.
const longNames = "NoHealthyUpstream UpstreamConnectionFailure UpstreamOverflow NoRouteFound UpstreamRetryLimitExceeded NoClusterFound UpstreamRequestTimeout " +
	"DurationTimeout DownstreamConnectionTermination LocalReset UpstreamRemoteReset UpstreamConnectionTermination DelayInjected FaultInjected RateLimited " +
	"UnauthorizedExternalService DownstreamProtocolError UpstreamProtocolError StreamIdleTimeout UpstreamMaxStreamDurationReached OverloadManagerTerminated DownstreamRemoteReset"

// String prints the set as access logs do: names joined by commas, "-" where it is empty.
func (f Flag) String() string { return f.named(flagNames) }

// Long prints the set in whole words, as %RESPONSE_FLAGS_LONG% does.
func (f Flag) Long() string { return f.named(longNames) }

func (f Flag) named(names string) string {
	if f == 0 {
		return "-"
	}
	var b strings.Builder
	for i, name := range strings.Fields(names) {
		if f&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
	}
	return b.String()
}

// Outcome is how a request or connection ended: a row of one table. The zero Outcome is "nothing went wrong": filters
// return it to let an exchange go on.
type Outcome uint8

// The rows. Their HTTP status, gRPC code, flag and log text are in the table below.
const (
	OK                Outcome = iota // the upstream answered
	LocalReply                       // this proxy answered on purpose (direct response, redirect, preflight): Reply says what
	NoRoute                          // no virtual host or route matched
	NoCluster                        // the route names a cluster that is not configured: Reply may have its status
	NoHealthyUpstream                // the cluster has no endpoint fit for use
	ConnectFailure                   // dialling or the handshake failed
	ConnectTimeout                   // dialling or the handshake took longer than the cluster allows
	Overflow                         // a connection, pending, request or retry limit is reached
	UpstreamReset                    // the connection failed before a response
	UpstreamAborted                  // the connection failed inside a response
	StreamReset                      // the server reset the stream before a response
	StreamAborted                    // the server reset the stream inside a response
	StreamRefused                    // the server refused the stream
	UpstreamProtocol                 // the response was malformed, or the server takes the request for that
	ProtocolAborted                  // the same inside a response
	Timeout                          // the route's timeout
	TryTimeout                       // the last try's timeout
	IdleTimeout                      // no byte for too long
	ClientGone                       // the client gave up
	ClientReset                      // the client reset the stream
	BadRequest                       // the request was malformed
	HeadTooLarge                     // the request's head exceeds the limits
	OldProtocol                      // HTTP/1.0 where it is not accepted
	RequestTimeout                   // the request's head did not arrive in time
	Denied                           // authorisation refused it: Details names the policies
	FaultAbort                       // an injected fault: Reply has its status
	UpgradeRefused                   // an upgrade that is not allowed here
	LoopDetected                     // the proxy would call itself
	BlackHole                        // a connection for which there is no chain or cluster
	Drained                          // cut at the drain deadline
	Revoked                          // its permission was revoked while it was open
	Panicked                         // a defect of ours: recovered, counted
	ConnectionCap                    // too many connections
	HandshakeFailed                  // a client's TLS handshake failed
	NotCaptured                      // a connection to a capture port that was not captured
	InspectionTimeout                // a client said nothing that would choose a chain, for too long
	Misdirected                      // the host is another server's of the same port: the client has to connect for it
	BadIntroduction                  // the PROXY protocol's header is missing or malformed
	RateLimited                      // a local rate limit: Reply may have its status
	Overloaded                       // the proxy has no memory left for one more
	DurationTimeout                  // the stream, response and all, lasted too long
	UpstreamDuration                 // the upstream's half of it lasted longer than its cluster lets it
	SessionIdle                      // a TCP connection moved nothing for too long
	SessionDuration                  // a TCP connection lasted too long
	outcomes                         // how many rows there are
)

// Outcomes is how many outcomes there are.
const Outcomes = int(outcomes)

type row struct {
	status  int
	grpc    int
	flag    Flag
	details string
	body    string
}

// table is the one place that ties status, gRPC code, flag and log text together. It is never written.
var table = [outcomes]row{
	OK:                {0, 0, 0, "via_upstream", ""},
	LocalReply:        {200, 0, 0, "direct_response", ""},
	NoRoute:           {404, 12, FlagNoRoute, "route_not_found", ""},
	NoCluster:         {503, 14, FlagNoCluster, "cluster_not_found", ""},
	NoHealthyUpstream: {503, 14, FlagNoHealthyUpstream, "no_healthy_upstream", "no healthy upstream"},
	ConnectFailure:    {503, 14, FlagUpstreamFailure, "upstream_reset_before_response_started{remote_connection_failure}", "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"},
	ConnectTimeout:    {503, 14, FlagUpstreamFailure, "upstream_reset_before_response_started{connection_timeout}", "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"},
	Overflow:          {503, 14, FlagUpstreamOverflow, "upstream_reset_before_response_started{overflow}", "upstream connect error or disconnect/reset before headers. reset reason: overflow"},
	UpstreamReset:     {503, 14, FlagUpstreamTermination, "upstream_reset_before_response_started{connection_termination}", "upstream connect error or disconnect/reset before headers. reset reason: connection termination"},
	UpstreamAborted:   {502, 14, FlagUpstreamTermination, "upstream_reset_after_response_started{connection_termination}", ""},
	StreamReset:       {503, 14, FlagRemoteReset, "upstream_reset_before_response_started{remote_reset}", "upstream connect error or disconnect/reset before headers. reset reason: remote reset"},
	StreamAborted:     {502, 14, FlagRemoteReset, "upstream_reset_after_response_started{remote_reset}", ""},
	StreamRefused:     {503, 14, FlagRemoteReset, "upstream_reset_before_response_started{remote_refused_stream_reset}", "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset"},
	UpstreamProtocol:  {502, 14, FlagUpstreamProtocol, "upstream_reset_before_response_started{protocol_error}", "upstream connect error or disconnect/reset before headers. reset reason: protocol error"},
	ProtocolAborted:   {502, 14, FlagUpstreamProtocol, "upstream_reset_after_response_started{protocol_error}", ""},
	Timeout:           {504, 4, FlagUpstreamTimeout, "response_timeout", "upstream request timeout"},
	TryTimeout:        {504, 4, FlagUpstreamTimeout, "upstream_per_try_timeout", "upstream request timeout"},
	IdleTimeout:       {504, 4, FlagIdleTimeout, "stream_idle_timeout", "stream timeout"},
	ClientGone:        {0, 1, FlagDownstreamTermination, "downstream_remote_disconnect", ""},
	ClientReset:       {0, 1, FlagDownstreamReset, "http2.remote_reset", ""},
	BadRequest:        {400, 13, FlagDownstreamProtocol, "http1.codec_error", "Bad Request"},
	HeadTooLarge:      {431, 8, FlagDownstreamProtocol, "http1.headers_too_large", ""},
	OldProtocol:       {426, 12, FlagDownstreamProtocol, "low_version", ""},
	RequestTimeout:    {408, 4, 0, "request_header_timeout", "Request Timeout"},
	Denied:            {403, 7, 0, "rbac_access_denied_matched_policy[none]", "RBAC: access denied"},
	FaultAbort:        {503, 14, FlagFaultInjected, "fault_filter_abort", "fault filter abort"},
	UpgradeRefused:    {403, 7, 0, "upgrade_failed", ""},
	LoopDetected:      {502, 14, FlagNoRoute, "loop_detected", ""},
	BlackHole:         {502, 14, FlagNoRoute, "filter_chain_not_found", ""},
	Drained:           {0, 14, FlagLocalReset, "drained", ""},
	Revoked:           {0, 7, 0, "permission_revoked", ""},
	Panicked:          {500, 13, FlagLocalReset, "internal_error", ""},
	ConnectionCap:     {503, 8, FlagUpstreamOverflow, "connection_limit", ""},
	HandshakeFailed:   {0, 14, 0, "tls_handshake_failed", ""},
	NotCaptured:       {0, 7, 0, "not_captured", ""},
	InspectionTimeout: {0, 4, 0, "listener_filter_timeout", ""},
	Misdirected:       {421, 14, FlagNoRoute, "misdirected_request", ""},
	RateLimited:       {429, 14, FlagRateLimited, "local_rate_limited", "local_rate_limited"},
	Overloaded:        {503, 14, FlagOverload, "overload", "overloaded"},
	DurationTimeout:   {504, 4, 0, "max_duration_timeout", "downstream duration timeout"},
	UpstreamDuration:  {504, 14, FlagUpstreamDuration, "upstream_max_stream_duration_reached", "upstream max stream duration reached"},
	SessionIdle:       {0, 4, 0, "tcp_session_idle_timeout", ""},
	SessionDuration:   {0, 4, FlagDurationTimeout, "max_connection_duration_reached", ""},
	BadIntroduction:   {0, 13, FlagDownstreamProtocol, "proxy_protocol_error", ""},
}

// GRPCOf maps an HTTP status to a gRPC code as gRPC's specification does (http-grpc-status-mapping).
func GRPCOf(status int) int {
	switch status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	}
	return 2
}

// Status returns the HTTP status that the client gets; 0 where it gets none or the upstream's.
func (o Outcome) Status() int { return table[o].status }

// Late says whether something took too long that a client may be to blame for, who is then told 408.
func (o Outcome) Late() bool {
	return o == RequestTimeout || o == IdleTimeout || o == DurationTimeout || o == UpstreamDuration
}

// GRPC returns the gRPC status code that a gRPC client gets.
func (o Outcome) GRPC() int { return table[o].grpc }

// Flag returns the response flag.
func (o Outcome) Flag() Flag { return table[o].flag }

// Details returns the text for %RESPONSE_CODE_DETAILS%.
func (o Outcome) Details() string { return table[o].details }

// Body returns the text that the client gets.
func (o Outcome) Body() string { return table[o].body }
