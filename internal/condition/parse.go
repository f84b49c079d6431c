package condition

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDepth bounds how deep parentheses and negations nest.
const maxDepth = 100

// Parse reads an expression.
func Parse(text string) (*Condition, error) {
	p := &parser{kinds: kinds(), out: &Condition{}}
	var err error
	if p.tokens, err = scan(text); err != nil {
		return nil, err
	}
	if p.out.root, err = p.or(0); err != nil {
		return nil, err
	}
	if rest := p.peek(); rest != "" {
		return nil, fmt.Errorf("%q is not expected there", rest)
	}
	return p.out, nil
}

// pattern is a token: a name, a number, a quoted text or an operator.
const pattern = `^(?:[A-Za-z_][A-Za-z0-9_]*|-?[0-9]+|'[^'\\]*'|"[^"\\]*"|&&|\|\||[=!<>]=|[!<>()\[\],.?:])`

func scan(text string) ([]string, error) {
	token, out := regexp.MustCompile(pattern), []string(nil)
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		t := token.FindString(text)
		if t == "" {
			return nil, fmt.Errorf("%.10q is not implemented", text)
		}
		out, text = append(out, t), text[len(t):]
	}
	return out, nil
}

type parser struct {
	tokens []string
	kinds  map[string]Kind
	out    *Condition
}

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

// take takes a token if it is the next.
func (p *parser) take(token string) bool {
	if p.peek() != token {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(token string) error {
	if !p.take(token) {
		return fmt.Errorf("%q expected, not %q", token, p.peek())
	}
	return nil
}

func (p *parser) or(depth int) (node, error) {
	a, err := p.and(depth)
	for err == nil && p.take("||") {
		var b node
		if b, err = p.and(depth); err == nil {
			a = either{a, b}
		}
	}
	return a, err
}

func (p *parser) and(depth int) (node, error) {
	a, err := p.unary(depth)
	for err == nil && p.take("&&") {
		var b node
		if b, err = p.unary(depth); err == nil {
			a = both{a, b}
		}
	}
	return a, err
}

func (p *parser) unary(depth int) (node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	switch {
	case p.take("!"):
		of, err := p.unary(depth + 1)
		return not{of}, err
	case p.take("("):
		of, err := p.or(depth + 1)
		if err == nil {
			err = p.expect(")")
		}
		return of, err
	case p.peek() == "has":
		return p.has()
	}
	return p.relation()
}

func (p *parser) has() (node, error) {
	p.next()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	o, err := p.operand()
	switch {
	case err != nil:
		return nil, err
	case o.attribute < 0:
		return nil, fmt.Errorf("has: an attribute is expected")
	}
	return present(o.attribute), p.expect(")")
}

// relation reads a comparison, a function of a text, or a truth value by itself.
func (p *parser) relation() (node, error) {
	a, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch op := p.peek(); op {
	case "==", "!=", "<", "<=", ">", ">=":
		p.next()
		b, err := p.operand()
		if err == nil {
			err = alike(a, b)
		}
		if err == nil && a.kind == Bool && op != "==" && op != "!=" {
			err = fmt.Errorf("%s: not of truth values", op)
		}
		return comparison{a, b, op}, err
	case "in":
		p.next()
		return p.in(a)
	case ".":
		p.next()
		return p.function(a)
	}
	if a.kind != Bool {
		return nil, fmt.Errorf("a comparison is expected before %q", p.peek())
	}
	return truth{a}, nil
}

func alike(a, b operand) error {
	if a.kind != b.kind {
		return fmt.Errorf("%s cannot be compared with %s", a.kind, b.kind)
	}
	return nil
}

// in reads a list of constants, or the headers that a name may be among.
func (p *parser) in(a operand) (node, error) {
	if !p.take("[") {
		return p.header(a)
	}
	out := among{of: a}
	for !p.take("]") {
		if len(out.list) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		o, err := p.operand()
		if err == nil {
			err = alike(a, o)
		}
		if err != nil {
			return nil, err
		}
		out.list = append(out.list, o)
	}
	return out, nil
}

func (p *parser) header(a operand) (node, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if p.kinds[name] != headers || a.attribute >= 0 || a.kind != Text {
		return nil, fmt.Errorf("in: a list, or the name of a header in request.headers or response.headers, is expected")
	}
	return present(p.attribute(Attribute{name, strings.ToLower(string(a.constant.Text)), Text})), nil
}

func (p *parser) function(a operand) (node, error) {
	out := looks{of: a, how: p.next()}
	if !slices.Contains([]string{"startsWith", "endsWith", "contains", "matches"}, out.how) {
		return nil, fmt.Errorf("%q is not implemented", out.how)
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	o, err := p.operand()
	switch {
	case err != nil:
		return nil, err
	case a.kind != Text || o.kind != Text || o.attribute >= 0:
		return nil, fmt.Errorf("%s: a string and a constant string are expected", out.how)
	}
	out.text = o.constant.Text
	if out.how == "matches" {
		if out.regex, err = regexp.Compile(string(out.text)); err != nil {
			return nil, fmt.Errorf("matches: %w", err)
		}
	}
	return out, p.expect(")")
}

// operand reads a constant or an attribute.
func (p *parser) operand() (operand, error) {
	t := p.peek()
	switch {
	case t == "":
		return operand{}, fmt.Errorf("it ends too early")
	case t == "true" || t == "false":
		p.next()
		out := operand{kind: Bool, attribute: -1}
		if t == "true" {
			out.constant.Int = 1
		}
		return out, nil
	case t[0] == '\'' || t[0] == '"':
		p.next()
		return operand{kind: Text, constant: Value{Text: []byte(t[1 : len(t)-1])}, attribute: -1}, nil
	case t[0] == '-' || '0' <= t[0] && t[0] <= '9':
		p.next()
		n, err := strconv.ParseInt(t, 10, 64)
		if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
			return operand{}, fmt.Errorf("%s is no number that anything could be", t)
		}
		return operand{kind: Int, constant: Value{Int: n}, attribute: -1}, nil
	case t == "duration":
		return p.duration()
	}
	return p.path()
}

func (p *parser) duration() (operand, error) {
	p.next()
	if err := p.expect("("); err != nil {
		return operand{}, err
	}
	text, err := p.operand()
	if err != nil {
		return operand{}, err
	}
	d, err := time.ParseDuration(string(text.constant.Text))
	if err != nil {
		return operand{}, fmt.Errorf("duration: %w", err)
	}
	return operand{kind: Duration, constant: Value{Int: int64(d)}, attribute: -1}, p.expect(")")
}

// name reads a dotted name: the attribute's two parts.
func (p *parser) name() (string, error) {
	name := p.next()
	if p.take(".") {
		name += "." + p.next()
	}
	if _, known := p.kinds[name]; !known {
		return "", fmt.Errorf("attribute %q is not implemented", name)
	}
	return name, nil
}

func (p *parser) path() (operand, error) {
	name, err := p.name()
	if err != nil {
		return operand{}, err
	}
	kind := p.kinds[name]
	if kind != headers {
		return operand{kind: kind, attribute: p.attribute(Attribute{Name: name, Kind: kind})}, nil
	}
	key := ""
	switch {
	case p.take("["):
		if t := p.next(); len(t) > 2 && (t[0] == '\'' || t[0] == '"') {
			key = t[1 : len(t)-1]
		}
		err = p.expect("]")
	case p.take("."):
		key = p.next()
	}
	if err != nil || key == "" {
		return operand{}, fmt.Errorf("%s: the name of a header is expected", name)
	}
	return operand{kind: Text, attribute: p.attribute(Attribute{name, strings.ToLower(key), Text})}, nil
}

// attribute is the place of an attribute.
func (p *parser) attribute(a Attribute) int {
	if i := slices.Index(p.out.Attributes, a); i >= 0 {
		return i
	}
	p.out.Attributes = append(p.out.Attributes, a)
	return len(p.out.Attributes) - 1
}
