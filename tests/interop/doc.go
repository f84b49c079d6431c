// Package interop has peers that share no code with Heddle judge it: a stock Envoy and grpc-go's xDS client, fed by our pilot. It holds no
// code that anything else uses.
package interop
