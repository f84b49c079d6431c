// Package contract holds that the halves agree: whatever pilot accepts, the proxy honours. Its tests run every golden case of translate, and
// meshes that are drawn at random, through generate and compile. It is imported by nobody.
package contract
