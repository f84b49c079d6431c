// Package http1 is HTTP/1.1 (and 1.0) on both sides of the proxy: a strict codec that allocates nothing once it is warm,
// the connection loop that serves clients, and the transport that speaks to upstreams. It must not import net/http, know
// routes or clusters, or repair what a peer got wrong: malformed messages are refused.
package http1
