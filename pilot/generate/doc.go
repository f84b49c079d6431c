// Package generate says in the proxy's language what the mesh means: it turns model.Snapshot and what is particular about a
// proxy (its Scope) into xDS resources of the dialect in api/wire/dialect.md. It is pure: no goroutine, clock, logger or client,
// and it knows nothing of Kubernetes objects, streams or versions sent.
//
// Every generator receives only its declared inputs, as a comparable struct in which pointers stand for content; the struct is
// also the key under which Memo remembers the result. This package decides what a proxy is told: which listeners, clusters and routes there
// are, and what they depend on. How each is said is
// below it: listeners, routes, upstream, transport and authz, by message, naming and intern.
package generate
