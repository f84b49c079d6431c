package main

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/heddle-mesh/heddle/api/wire"
)

// response is a delta response whose parts point into a message as it came. Its bytes are only looked at: a thousand clients that unmarshal the same megabytes
// would be what is measured.
type response struct {
	typ       string
	nonce     []byte
	resources []resource
	removed   [][]byte
}

type resource struct{ name, version, body []byte }

// Field numbers of envoy.service.discovery.v3.DeltaDiscoveryRequest, DeltaDiscoveryResponse, its Resource, and of google.protobuf.Any.
const (
	requestType       = 2
	requestNonce      = 6
	responseResources = 2
	responseType      = 4
	responseNonce     = 5
	responseRemoved   = 6
	resourceVersion   = 1
	resourceBody      = 2
	resourceName      = 3
	anyValue          = 2
)

var errBroken = errors.New("a response is no protobuf message")

// read takes a response apart. Its resources are appended to room, which may be reused once the response is done with.
func read(data []byte, room []resource) (response, error) {
	r := response{resources: room[:0]}
	err := fields(data, func(number protowire.Number, value []byte) error {
		switch number {
		case responseType:
			r.typ = typeOf(value)
		case responseNonce:
			r.nonce = value
		case responseRemoved:
			r.removed = append(r.removed, value)
		case responseResources:
			one, err := readResource(value)
			if err != nil {
				return err
			}
			r.resources = append(r.resources, one)
		}
		return nil
	})
	return r, err
}

func readResource(data []byte) (resource, error) {
	var r resource
	err := fields(data, func(number protowire.Number, value []byte) error {
		switch number {
		case resourceName:
			r.name = value
		case resourceVersion:
			r.version = value
		case resourceBody:
			return fields(value, func(number protowire.Number, value []byte) error {
				if number == anyValue {
					r.body = value
				}
				return nil
			})
		}
		return nil
	})
	return r, err
}

// appendAnswer appends a delta request that accepts a response.
func appendAnswer(to []byte, r response) []byte {
	to = protowire.AppendString(protowire.AppendTag(to, requestType, protowire.BytesType), r.typ)
	return protowire.AppendBytes(protowire.AppendTag(to, requestNonce, protowire.BytesType), r.nonce)
}

// fields calls see for each length-delimited field of a message.
func fields(data []byte, see func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errBroken
		}
		data = data[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, typ, data); n < 0 {
				return errBroken
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return errBroken
		}
		data = data[n:]
		if err := see(number, value); err != nil {
			return err
		}
	}
	return nil
}

// typeOf returns the constant for a type, so that none is allocated per response.
func typeOf(url []byte) string {
	for _, known := range []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeVirtualHost} {
		if string(url) == known {
			return known
		}
	}
	return string(url)
}
