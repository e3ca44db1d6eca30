//go:build cgo && !libvirt_dlopen

package virt

import _ "github.com/vgpukit/vgpukit/internal/libvirtheaders" // says which package is missing
