// Package grpchealth is the two messages of gRPC's health checking protocol (grpc.health.v1), in the frames that gRPC sends. It sends nothing.
package grpchealth

import "encoding/binary"

// Path is where services are asked for their health.
const Path = "/grpc.health.v1.Health/Check"

const serving = 1 // HealthCheckResponse.ServingStatus

// Question is a HealthCheckRequest in its frame: the service's name is field 1.
func Question(name string) []byte {
	message := []byte(nil)
	if name != "" {
		message = binary.AppendUvarint(append(message, 1<<3|2), uint64(len(name)))
		message = append(message, name...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// Serving says whether an answer is that the service serves.
func Serving(answer []byte) bool { return status(answer) == serving }

// status reads field 1 of a HealthCheckResponse in its frame; 0 where it is not there.
func status(p []byte) uint64 {
	if len(p) < 5 || p[0] != 0 || uint64(binary.BigEndian.Uint32(p[1:])) != uint64(len(p)-5) {
		return 0
	}
	out := uint64(0)
	for p = p[5:]; len(p) > 0; {
		key, n := binary.Uvarint(p)
		if n <= 0 {
			return 0
		}
		p = p[n:]
		v, n := binary.Uvarint(p)
		if n <= 0 {
			return 0
		}
		p = p[n:]
		switch key & 7 {
		case 0:
		case 2: // bytes of a field that we do not know
			if v > uint64(len(p)) {
				return 0
			}
			p = p[v:]
		default:
			return 0
		}
		if key == 1<<3 {
			out = v
		}
	}
	return out
}
