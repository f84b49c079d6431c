// Package listeners says listeners: those for what a sidecar sends and receives, a gateway's, and those of programs with gRPC's xDS, with the
// network and HTTP filters in them. What to serve, and where it goes, is decided by who calls it.
package listeners
