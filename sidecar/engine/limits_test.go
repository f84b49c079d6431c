package engine

import "testing"

func TestConnectionLimits(t *testing.T) {
	for descriptors, want := range map[uint64][2]int64{
		1 << 62: {0, 0}, 1 << 20: {628992, 566091}, 1024: {459, 405}, 100: {64, 54},
	} {
		if all, one := limitsFor(descriptors); all != want[0] || int64(one) != want[1] {
			t.Errorf("%d descriptors: %d, %d", descriptors, all, one)
		}
	}
	if all, one := connectionLimits(); all < 0 || one < 0 || int64(one) > all {
		t.Errorf("here: %d, %d", all, one)
	}
}
