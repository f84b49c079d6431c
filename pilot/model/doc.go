// Package model is the mesh, resolved: what Kubernetes objects mean after references, precedence, defaults and attachment were settled. It holds
// nouns and the lookups between them; it imports no other package of pilot, no Kubernetes and no protobuf.
//
// Everything reachable from a Snapshot is immutable. Translate interns: an object whose meaning did not change keeps its
// pointer from snapshot to snapshot, so pointer identity means content identity and pointers serve as memo keys.
package model
