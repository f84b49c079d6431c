// Package simulation holds behaviour: a mesh in a few lines and YAML, then requests and what must become of them. Its tests run the
// real translate, generate, compile, match, filter and handshake code of both halves in one process, without sockets or time. It is
// imported by nobody.
package simulation
