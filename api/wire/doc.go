// Package wire is what pilot, proxy, injector and ca say to each other: ports, names, node metadata, resource envelopes and
// the dialect of xDS that they share (dialect.md). It holds types and constants without behaviour and imports nothing of ours.
package wire
