package envoy

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"
)

// Options say who an Envoy is and where its control plane is.
type Options struct {
	ID       string         // node.id
	Metadata map[string]any // node.metadata
	// Discovery is where ADS is: the path of a unix socket, or host:port. Empty: nowhere, and Envoy serves nothing.
	Discovery string
	// TLS secures a Discovery of the form host:port. Nil: in the clear.
	TLS *TLS
	// StateOfTheWorld asks for that variant of ADS; otherwise it is delta.
	StateOfTheWorld bool
	// In runs start on a thread that is where Envoy is to be, in a network namespace say. Nil: here.
	In func(start func())
	// Group is the group that Envoy runs as, by which capture rules know a proxy. 0: the test's own.
	Group uint32
}

// TLS is how Envoy proves itself to the control plane, and whom it believes.
type TLS struct {
	Certificate, Key, Roots string // files
	Name                    string // the server's
}

// object is a part of a bootstrap.
type object = map[string]any

// Bootstrap is Envoy's configuration file. Its admin interface is a unix socket in dir, so that it is reached from every network namespace.
func (o Options) Bootstrap(dir string) ([]byte, error) {
	metadata := o.Metadata
	if metadata == nil {
		metadata = object{}
	}
	out := object{
		"node":  object{"id": o.ID, "cluster": "interop", "metadata": metadata},
		"admin": object{"address": object{"pipe": object{"path": filepath.Join(dir, adminSocket)}}},
		// no limit of our own, said so that Envoy does not warn of it
		"overload_manager": object{"resource_monitors": []object{{
			"name": "envoy.resource_monitors.global_downstream_max_connections",
			"typed_config": object{"@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
				"max_active_downstream_connections": 10_000},
		}}},
	}
	if o.Discovery == "" {
		return json.Marshal(out)
	}
	kind := "DELTA_GRPC"
	if o.StateOfTheWorld {
		kind = "GRPC"
	}
	ads := object{"ads": object{}, "resource_api_version": "V3"}
	out["dynamic_resources"] = object{"cds_config": ads, "lds_config": ads, "ads_config": object{
		"api_type": kind, "transport_api_version": "V3", "set_node_on_first_message_only": true,
		"grpc_services": []object{{"envoy_grpc": object{"cluster_name": "xds"}}},
	}}
	out["static_resources"] = object{"clusters": []object{o.controlPlane()}}
	return json.Marshal(out)
}

// controlPlane is the cluster of Discovery.
func (o Options) controlPlane() object {
	address := object{"pipe": object{"path": o.Discovery}}
	if host, port, err := net.SplitHostPort(o.Discovery); err == nil {
		number, _ := strconv.Atoi(port) // Envoy refuses 0 by name
		address = object{"socket_address": object{"address": host, "port_value": number}}
	}
	out := object{
		"name": "xds", "type": "STATIC", "connect_timeout": "2s",
		"load_assignment": object{"cluster_name": "xds", "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": address}}}}}},
		"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
			"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config": object{"http2_protocol_options": object{}},
		}},
	}
	if o.TLS != nil {
		file := func(name string) object { return object{"filename": name} }
		out["transport_socket"] = object{"name": "envoy.transport_sockets.tls", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": o.TLS.Name,
			"common_tls_context": object{
				"alpn_protocols":   []string{"h2"},
				"tls_certificates": []object{{"certificate_chain": file(o.TLS.Certificate), "private_key": file(o.TLS.Key)}},
				"validation_context": object{"trusted_ca": file(o.TLS.Roots),
					"match_typed_subject_alt_names": []object{{"san_type": "DNS", "matcher": object{"exact": o.TLS.Name}}}},
			},
		}}
	}
	return out
}
