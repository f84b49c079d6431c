package condition

import (
	"fmt"
	"strconv"
)

// Expression is one whose value is written as text: an attribute, a constant, string() of one of them, or a choice between two such
// expressions, `condition ? a : b`. It is immutable.
type Expression struct {
	Attributes []Attribute
	root       term
}

// term is an operand, or a choice between two terms.
type term struct {
	of   operand
	when node // nil: it is the operand
	yes  *term
	no   *term
}

// ParseText reads an expression of a text.
func ParseText(text string) (*Expression, error) {
	p := &parser{kinds: kinds(), out: &Condition{}}
	var err error
	if p.tokens, err = scan(text); err != nil {
		return nil, err
	}
	root, err := p.term(0)
	if err != nil {
		return nil, err
	}
	if rest := p.peek(); rest != "" {
		return nil, fmt.Errorf("%q is not expected there", rest)
	}
	return &Expression{Attributes: p.out.Attributes, root: *root}, nil
}

// Append writes the value; false: the expression asks for what is not there, and nothing is written.
func (t *Expression) Append(dst []byte, v Values) ([]byte, bool) {
	at := &t.root
	for at.when != nil {
		switch at.when.eval(v) {
		case yes:
			at = at.yes
		case no:
			at = at.no
		default:
			return dst, false
		}
	}
	value, ok := at.of.value(v)
	switch {
	case !ok:
		return dst, false
	case at.of.kind == Int:
		return strconv.AppendInt(dst, value.Int, 10), true
	case at.of.kind == Bool:
		return strconv.AppendBool(dst, value.Int != 0), true
	}
	return append(dst, value.Text...), true
}

// term reads an operand, or a choice.
func (p *parser) term(depth int) (*term, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	tokens, attributes := p.tokens, len(p.out.Attributes)
	when, err := p.or(depth)
	if err == nil && p.take("?") {
		return p.choice(when, depth)
	}
	if p.tokens, p.out.Attributes = tokens, p.out.Attributes[:attributes]; p.take("(") {
		out, err := p.term(depth + 1)
		if err == nil {
			err = p.expect(")")
		}
		return out, err
	}
	of, err := p.written()
	return &term{of: of}, err
}

func (p *parser) choice(when node, depth int) (*term, error) {
	first, err := p.term(depth + 1)
	if err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	second, err := p.term(depth + 1)
	return &term{when: when, yes: first, no: second}, err
}

// written reads an operand that can be written as text.
func (p *parser) written() (operand, error) {
	if p.take("string") {
		if err := p.expect("("); err != nil {
			return operand{}, err
		}
		of, err := p.written()
		if err == nil {
			err = p.expect(")")
		}
		return of, err
	}
	of, err := p.operand()
	if err == nil && of.kind == Duration {
		err = fmt.Errorf("a duration is no text")
	}
	return of, err
}
