package samples

import (
	"reflect"
	"testing"
)

func TestBlocks(t *testing.T) {
	const readme = "# A\n\n```sh setup\none\nfor x in a; do\n  two\ndone\nthree\n```\n\n```sh\nfour   # 200\n\nfive\n```\ntext\n```yaml\na: b\n```\n```sh\nsix\n```\n"
	for kind, want := range map[string][][]string{
		Setup:    {{"one", "for x in a; do\n  two\ndone", "three"}},
		Commands: {{"four   # 200", "five"}, {"six"}},
	} {
		if got := Blocks(readme, kind); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}
