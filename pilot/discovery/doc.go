// Package discovery serves xDS over ADS, delta and state-of-the-world: streams, subscriptions, nonces, ACK and NACK, the order of
// types. It moves names, versions and opaque bytes and does not see the model; who a proxy is, what it may know and when that
// changes is a Registry's business.
package discovery
