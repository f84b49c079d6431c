// Package contract holds that the halves agree: whatever pilot accepts, the proxy honours. Its test runs every golden case of translate
// through generate and compile. It is imported by nobody.
package contract
