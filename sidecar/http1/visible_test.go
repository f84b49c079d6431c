package http1

import "testing"

// TestVisible holds that eight bytes at once are judged as each of them is, wherever the odd one stands.
func TestVisible(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				v := make([]byte, length)
				for i := range v {
					v[i] = 'a' + byte(i)
				}
				v[at] = byte(c)
				if visible(v) != valueByte[c] {
					t.Fatalf("%q: %v", v, visible(v))
				}
			}
		}
	}
}
