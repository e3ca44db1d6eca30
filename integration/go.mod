module github.com/vgpukit/vgpukit/integration

go 1.26.0

replace github.com/vgpukit/vgpukit => ..

require (
	github.com/google/uuid v1.6.0
	github.com/vgpukit/vgpukit v0.0.0-00010101000000-000000000000
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require libvirt.org/go/libvirtxml v1.12001.0 // indirect
