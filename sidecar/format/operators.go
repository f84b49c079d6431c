package format

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// argumentOperator compiles operators that take an argument; nil where name is none of them.
func argumentOperator(name, arg string) (operator, error) {
	first, second, _ := strings.Cut(strings.ToLower(arg), "?")
	switch name {
	case "REQ":
		return header(name, first, second, field(requestField))
	case "REQ_WITHOUT_QUERY":
		return header(name, first, second, field(func(x *exchange.Exchange, n string) exchange.View {
			v, _, _ := bytes.Cut(requestField(x, n), []byte("?"))
			return v
		}))
	case "RESP":
		return header(name, first, second, responseField)
	case "PATH":
		return path(arg)
	case "QUERY_PARAM":
		return parameter(arg)
	case "START_TIME":
		return startTime(arg)
	}
	return nil, nil
}

// lookup appends the value of a field and says whether there is one.
type lookup func(dst []byte, x *exchange.Exchange, name string) ([]byte, bool)

// field is a lookup of fields that are views.
func field(get func(*exchange.Exchange, string) exchange.View) lookup {
	return func(dst []byte, x *exchange.Exchange, name string) ([]byte, bool) {
		v := get(x, name)
		return append(dst, v...), v != nil
	}
}

func header(name, first, second string, get lookup) (operator, error) {
	if first == "" {
		return nil, fmt.Errorf("operator %%%s%%: names no header", name)
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		dst, found := get(dst, x, first)
		if !found && second != "" {
			dst, _ = get(dst, x, second)
		}
		return dst
	}, nil
}

func responseField(dst []byte, x *exchange.Exchange, name string) ([]byte, bool) {
	if name == ":status" && x.Response.Status > 0 {
		return strconv.AppendInt(dst, int64(x.Response.Status), 10), true
	}
	v := x.Response.Get(name)
	return append(dst, v...), v != nil
}

func requestField(x *exchange.Exchange, name string) exchange.View {
	switch name {
	case ":method":
		return x.Request.Method
	case ":path":
		return x.Request.Path
	case ":authority", "host":
		return x.Request.Authority
	case ":scheme":
		return x.Request.Scheme
	case "x-envoy-original-path":
		if x.OriginalPath != nil {
			return x.OriginalPath
		}
	}
	return x.Request.Get(name)
}

// startTime knows the default layout and the ones that logs are usually given; Envoy's further specifiers are refused.
func startTime(arg string) (operator, error) {
	layout, known := map[string]string{
		"": "2006-01-02T15:04:05.000Z", "%Y-%m-%dT%H:%M:%S.%3fZ": "2006-01-02T15:04:05.000Z", "%Y-%m-%dT%H:%M:%SZ": "2006-01-02T15:04:05Z",
		"%Y/%m/%dT%H:%M:%S%z": "2006/01/02T15:04:05-0700", "%d/%b/%Y:%H:%M:%S %z": "02/Jan/2006:15:04:05 -0700",
	}[arg]
	switch {
	case known:
		return func(dst []byte, x *exchange.Exchange) []byte { return x.Start.UTC().AppendFormat(dst, layout) }, nil
	case arg == "%s":
		return func(dst []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(dst, x.Start.Unix(), 10) }, nil
	}
	return nil, fmt.Errorf("operator %%START_TIME(%s)%%: not supported", arg)
}

// numberOperator compiles operators whose value is a number.
func numberOperator(name string) operator {
	var get func(x *exchange.Exchange) (int64, bool)
	since := func(at func(x *exchange.Exchange) time.Time) func(x *exchange.Exchange) (int64, bool) {
		return func(x *exchange.Exchange) (int64, bool) {
			t := at(x)
			return t.Sub(x.Start).Milliseconds(), !t.IsZero()
		}
	}
	switch name {
	case "RESPONSE_CODE":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.Response.Status), true }
	case "BYTES_RECEIVED":
		get = func(x *exchange.Exchange) (int64, bool) { return x.Received, true }
	case "BYTES_SENT":
		get = func(x *exchange.Exchange) (int64, bool) { return x.Sent, true }
	case "DURATION":
		get = since(func(x *exchange.Exchange) time.Time { return x.End })
	case "REQUEST_DURATION":
		get = since(func(x *exchange.Exchange) time.Time { return x.RequestEnd })
	case "RESPONSE_DURATION":
		get = since(func(x *exchange.Exchange) time.Time { return x.FirstByte })
	case "RESPONSE_TX_DURATION":
		get = func(x *exchange.Exchange) (int64, bool) {
			return x.End.Sub(x.FirstByte).Milliseconds(), !x.FirstByte.IsZero()
		}
	case "UPSTREAM_REQUEST_ATTEMPT_COUNT":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.Attempts), true }
	case "GRPC_STATUS_NUMBER":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.GRPCStatus), x.GRPCStatus >= 0 }
	case "CONNECTION_ID":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.Conn.ID), true }
	case "START_TIME_MILLIS":
		get = func(x *exchange.Exchange) (int64, bool) { return x.Start.UnixMilli(), true }
	case "DOWNSTREAM_REMOTE_PORT":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.Conn.Source.Port()), true }
	case "DOWNSTREAM_LOCAL_PORT":
		get = func(x *exchange.Exchange) (int64, bool) { return int64(x.Conn.Destination.Port()), true }
	default:
		return nil
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		if n, ok := get(x); ok {
			return strconv.AppendInt(dst, n, 10)
		}
		return dst
	}
}

func text(get func(*exchange.Exchange) string) operator {
	return func(dst []byte, x *exchange.Exchange) []byte { return append(dst, get(x)...) }
}

// exchangeOperator compiles operators about the request itself.
func exchangeOperator(name string) operator {
	switch name {
	case "PROTOCOL":
		return text(func(x *exchange.Exchange) string {
			if x.Protocol == exchange.TCP {
				return ""
			}
			return x.Protocol.String()
		})
	case "RESPONSE_FLAGS":
		return text(func(x *exchange.Exchange) string { return x.Flags.String() })
	case "RESPONSE_FLAGS_LONG":
		return text(func(x *exchange.Exchange) string { return x.Flags.Long() })
	case "RESPONSE_CODE_DETAILS":
		return text(func(x *exchange.Exchange) string {
			if x.Protocol == exchange.TCP {
				return ""
			}
			return x.Text()
		})
	case "CONNECTION_TERMINATION_DETAILS":
		return text(func(x *exchange.Exchange) string {
			if x.Protocol == exchange.TCP && x.Outcome != exchange.OK {
				return x.Text()
			}
			return ""
		})
	case "ROUTE_NAME":
		return text(func(x *exchange.Exchange) string { return x.RouteName })
	case "VIRTUAL_HOST_NAME":
		return text(func(x *exchange.Exchange) string { return x.VirtualHost })
	case "GRPC_STATUS":
		return text(func(x *exchange.Exchange) string { return grpcName(x.GRPCStatus) })
	case "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW":
		return text(func(x *exchange.Exchange) string {
			if x.Upstream.Cluster == nil {
				return ""
			}
			return x.Upstream.Cluster.Name
		})
	case "UPSTREAM_TRANSPORT_FAILURE_REASON":
		return text(func(x *exchange.Exchange) string { return x.Upstream.Failure })
	case "DOWNSTREAM_TRANSPORT_FAILURE_REASON":
		return text(func(x *exchange.Exchange) string { return x.Conn.Failure })
	case "HOSTNAME":
		return text(func(*exchange.Exchange) string { return hostname() })
	case "STREAM_ID":
		return streamID
	case "TRACE_ID":
		return func(dst []byte, x *exchange.Exchange) []byte {
			if x.Trace.TraceID == [16]byte{} {
				return dst
			}
			return hex.AppendEncode(dst, x.Trace.TraceID[:])
		}
	}
	return nil
}

// hostname is the machine's, which in a cluster is the pod.
var hostname = sync.OnceValue(func() string {
	name, _ := os.Hostname() // without one there is no value
	return name
})

// process tells this process's connections from those of any other.
var process = sync.OnceValue(func() (id [8]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
})

// streamID is a request's own id, and for a TCP connection one that no other has, here or elsewhere, in the form of a UUID.
func streamID(dst []byte, x *exchange.Exchange) []byte {
	if x.Protocol != exchange.TCP {
		return append(dst, x.Request.Get("x-request-id")...)
	}
	id := process()
	all := binary.BigEndian.AppendUint64(id[:], x.Conn.ID)
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, all[:n])
		all = all[n:]
	}
	return dst
}

// upstreamAddress is where the upstream is: an address, or the path of a socket.
func upstreamAddress(bare bool) operator {
	return func(dst []byte, x *exchange.Exchange) []byte {
		switch ep := x.Upstream.Endpoint; {
		case ep == nil:
			return dst
		case ep.Path != "":
			return append(dst, ep.Path...)
		case !ep.Address.IsValid():
			return dst
		case bare:
			return ep.Address.Addr().Unmap().AppendTo(dst)
		default:
			return netip.AddrPortFrom(ep.Address.Addr().Unmap(), ep.Address.Port()).AppendTo(dst)
		}
	}
}

// addressOperator compiles operators about addresses.

func addressOperator(name string) operator {
	name, bare := strings.CutSuffix(name, "_WITHOUT_PORT")
	var get func(x *exchange.Exchange) netip.AddrPort
	switch name {
	case "DOWNSTREAM_REMOTE_ADDRESS":
		get = func(x *exchange.Exchange) netip.AddrPort { return netip.AddrPortFrom(x.Remote, x.Conn.Source.Port()) }
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		get = func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Direct() }
	case "DOWNSTREAM_LOCAL_ADDRESS":
		get = func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Destination }
	case "UPSTREAM_LOCAL_ADDRESS":
		get = func(x *exchange.Exchange) netip.AddrPort { return x.Upstream.Local }
	case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS":
		return upstreamAddress(bare)
	default:
		return nil
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		a := get(x)
		switch {
		case !a.IsValid():
			return dst
		case bare:
			return a.Addr().Unmap().AppendTo(dst)
		}
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).AppendTo(dst)
	}
}

// tlsOperator compiles operators about the two handshakes.
func tlsOperator(name string) operator {
	if name == "REQUESTED_SERVER_NAME" {
		return text(func(x *exchange.Exchange) string { return x.Conn.SNI })
	}
	side := func(x *exchange.Exchange) *exchange.Security { return x.Conn.Security }
	rest, down := strings.CutPrefix(name, "DOWNSTREAM_")
	if !down {
		var up bool
		if rest, up = strings.CutPrefix(name, "UPSTREAM_"); !up {
			return nil
		}
		side = func(x *exchange.Exchange) *exchange.Security { return x.Upstream.Security }
	}
	var get func(s *exchange.Security) string
	switch rest {
	case "TLS_VERSION":
		get = func(s *exchange.Security) string { return s.Version }
	case "TLS_CIPHER":
		get = func(s *exchange.Security) string { return s.Cipher }
	case "PEER_URI_SAN":
		get = func(s *exchange.Security) string { return s.Identity.URI }
	case "PEER_SUBJECT":
		get = func(s *exchange.Security) string { return s.Subject }
	case "PEER_FINGERPRINT_256":
		get = func(s *exchange.Security) string { return s.Hash }
	case "LOCAL_URI_SAN":
		get = func(s *exchange.Security) string { return s.LocalURI }
	default:
		return nil
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		if s := side(x); s != nil {
			return append(dst, get(s)...)
		}
		return dst
	}
}

// grpcName prints a gRPC status as Envoy's %GRPC_STATUS% does; empty where there is none.
func grpcName(code int) string {
	names := [...]string{"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"}
	switch {
	case code < 0:
		return ""
	case code < len(names):
		return names[code]
	}
	return strconv.Itoa(code)
}
