package block

func digit(c byte) bool { return '0' <= c && c <= '9' }

// tokenChar says whether c may stand in a token (RFC 9110, 5.6.2).
func tokenChar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', digit(c):
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

func validToken(s string) bool {
	for i := range len(s) {
		if !tokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// validName says whether s is a field name as HTTP/2 wants it: a token in lower case.
func validName(s string) bool {
	for i := range len(s) {
		if !tokenChar(s[i]) || 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return s != ""
}

// validValue refuses what could become something else on an HTTP/1 connection: control bytes, and white space at
// either end.
func validValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return s == "" || !blank(s[0]) && !blank(s[len(s)-1])
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// validPath accepts an absolute path with its query, or "*".
func validPath(s string) bool {
	return s == "*" || s != "" && s[0] == '/' && printable(s)
}

func validAuthority(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '/' || c == '?' || c == '#' || c == '@' || c == '\\' || c == ',':
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
