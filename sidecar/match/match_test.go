package match

import "testing"

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		config Config
		yes    []string
		no     []string
	}{
		{Config{Exact, "Ab", false}, []string{"Ab"}, []string{"", "ab", "Abc", "A"}},
		{Config{Exact, "Ab", true}, []string{"Ab", "aB"}, []string{"", "abc"}},
		{Config{Exact, "", false}, []string{""}, []string{"x"}},
		{Config{Prefix, "/a", false}, []string{"/a", "/ab"}, []string{"", "/", "/A", "b/a"}},
		{Config{Suffix, ".Com", true}, []string{"x.com", ".COM"}, []string{"com", "x.com."}},
		{Config{Contains, "mid", false}, []string{"mid", "amidst"}, []string{"mi", "MID", ""}},
		{Config{Contains, "", false}, []string{"", "x"}, nil},
		{Config{Regex, "a|b+", false}, []string{"a", "bb"}, []string{"ab", "xa", "", "b\n"}},
	} {
		s, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range c.yes {
			if !s.Match(text) || !s.MatchBytes([]byte(text)) {
				t.Errorf("%s refuses %q", s.Text(), text)
			}
		}
		for _, text := range c.no {
			if s.Match(text) || s.MatchBytes([]byte(text)) {
				t.Errorf("%s takes %q", s.Text(), text)
			}
		}
	}
}

func TestRefusesBadRegex(t *testing.T) {
	for _, c := range []Config{{Regex, "(", false}, {Regex, "a", true}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
