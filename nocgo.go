//go:build !cgo

package vgpukit

// Open cannot be called in a program that is built without cgo, which the
// connection to libvirt needs. The compiler says so in these words.
const Open = "it needs cgo: set CGO_ENABLED=1 and install a C compiler"

// Kit is what Open returns in a program that is built with cgo.
type Kit struct{}
