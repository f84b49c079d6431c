// Package translate finds out what the objects of a cluster mean: Inputs in, a model.Snapshot and a report out. It resolves
// references, precedence, defaults and attachment once, for the whole mesh. It is pure and it never fails: an object that is not
// understood yields a report entry and is left out or, where it is about security, closed; all others proceed.
package translate
