// Package exchange is one request in flight, as filters, codecs and telemetry see it: heads, peer, upstream, outcome,
// counts and timing. It is nouns and the seams between them; it must not import any other package of Heddle, do I/O,
// log, or know a wire format.
package exchange
