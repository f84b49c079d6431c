// Package publish decides who needs what: it holds the latest snapshot, endpoints and workloads, groups the connected proxies by
// scope, has generate say what each scope is told, and tells each proxy's stream the names that may have changed. It speaks no
// protocol and writes nothing to the cluster.
//
// Configuration is made by one goroutine (Run). Endpoints take a lane of their own: SetEndpoints tells the proxies at once, however
// long a generation takes.
package publish
