// Package source reads what people want: from one shared informer cache, or from files. It yields inputs.Inputs and knows no
// meaning: it does not judge, resolve or write.
package source
