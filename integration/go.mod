module github.com/vgpukit/vgpukit/integration

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/stretchr/testify v1.12.1
	github.com/vgpukit/vgpukit v0.1.0
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
	libvirt.org/go/libvirt v1.12001.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	libvirt.org/go/libvirtxml v1.12001.0 // indirect
)
