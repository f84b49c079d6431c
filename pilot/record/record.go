// Package record packs a resource once in the form that a delta response carries it in. The form depends on no stream, so that all of them
// send the same bytes. It knows no resource's content.
package record

import "google.golang.org/protobuf/encoding/protowire"

// Field numbers of envoy.service.discovery.v3.DeltaDiscoveryResponse, of its Resource, and of google.protobuf.Any.
const (
	deltaResources  = 2
	resourceVersion = 1
	resourceBody    = 2
	resourceName    = 3
	anyType         = 1
	anyValue        = 2
)

// Of returns a resource as it stands in a DeltaDiscoveryResponse, tag and length included, and the copy of body that is its end.
func Of(typ, name, version string, body []byte) (record, end []byte) {
	any := sized(len(typ)) + sized(len(body))
	inner := sized(len(name)) + sized(len(version)) + sized(any)
	record = open(make([]byte, 0, sized(inner)), deltaResources, inner)
	record = append(open(record, resourceName, len(name)), name...)
	record = append(open(record, resourceVersion, len(version)), version...)
	record = open(record, resourceBody, any)
	record = append(open(record, anyType, len(typ)), typ...)
	record = append(open(record, anyValue, len(body)), body...)
	return record, record[len(record)-len(body):]
}

// sized is what a field of n bytes takes: all field numbers here have tags of one byte.
func sized(n int) int { return 1 + protowire.SizeBytes(n) }

// open begins a field of n bytes.
func open(to []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.BytesType), uint64(n))
}
