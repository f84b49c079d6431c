package wire

// Ports of the proxy and of the control plane. They are those that users of Istio know (firewalls, dashboards and
// NetworkPolicies name them).
const (
	PortAdmin           = 15000 // proxy: admin, loopback only
	PortOutbound        = 15001 // proxy: captured outbound connections
	PortInbound         = 15006 // proxy: captured inbound connections
	PortDiscovery       = 15012 // heddled: xDS and CA over TLS
	PortMonitoring      = 15014 // heddled: metrics and debug
	PortWebhook         = 15017 // heddled: webhooks (Service port 443)
	PortStatus          = 15020 // proxy: merged metrics, readiness, rewritten probes, quitquitquit
	PortReady           = 15021 // proxy: /healthz/ready of the proxy alone
	PortDNS             = 15053 // proxy: the pod's captured DNS questions, loopback only
	PortProxyPrometheus = 15090 // proxy: its own metrics only
	PortHealth          = 8080  // heddled: /ready
)

// ProxyUID and ProxyGID are the user and group that the proxy runs as; captured traffic of this user is never captured again.
const (
	ProxyUID = 1337
	ProxyGID = 1337
)

// InboundSourceV4 and InboundSourceV6 are the addresses that the proxy connects from when it delivers inbound traffic
// to the application in its own pod; the capture rules let them pass.
const (
	InboundSourceV4 = "127.0.0.6"
	InboundSourceV6 = "::6"
)
