//go:build cgo && !libvirt_dlopen

// Package libvirtheaders says what to do where libvirt's headers are missing: the
// binding asks pkg-config for them and passes on its words only. So does this
// package, by a file whose name is the advice, which pkg-config repeats.
package libvirtheaders

// #cgo pkg-config: install_libvirt-dev__or_build_with_-tags_libvirt_dlopen.pc
import "C"
