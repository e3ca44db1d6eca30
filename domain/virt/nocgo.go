//go:build !cgo

package virt

// The name is what the compiler says, once, instead of naming all that is missing.
var _ = domain_virt_needs_cgo__set_CGO_ENABLED_1_and_install_a_C_compiler
