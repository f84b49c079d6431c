package grpchealth

import "testing"

func TestStatus(t *testing.T) {
	for in, want := range map[string]uint64{
		"\x00\x00\x00\x00\x02\x08\x01":          1,
		"\x00\x00\x00\x00\x02\x08\x02":          2,
		"\x00\x00\x00\x00\x00":                  0,
		"\x00\x00\x00\x00\x05\x12\x01x\x08\x01": 1,
		"\x00\x00\x00\x00\x04\x12\x09\x08\x01":  0,
		"\x01\x00\x00\x00\x02\x08\x01":          0,
		"\x00\x00\x00\x00\x03\x08\x01":          0,
		"\x00\x00\x00\x00\x02\x08":              0,
		"\x00\x00\x00\x00\x03\x08\x80\x80":      0,
		"\x00\x00\x00\x00\x02\x0d\x01":          0,
		"":                                      0,
	} {
		if got := status([]byte(in)); got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
}
