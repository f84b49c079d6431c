// Package arch holds the rules of the house as tests: who may import whom, and how large things may grow. A failure
// prints the reason of the rule. Rules only get stricter.
package arch
