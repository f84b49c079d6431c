// Package differential sends the same requests, odd ones too, through heddle-proxy's engine and through a stock Envoy that are given the same xDS, and
// wants the same of both: for the client, for the upstream, and for the connection. It holds no opinion of its own of what is right: what may differ is
// listed in testdata/differences.yaml with its reason.
package differential
