module github.com/vgpukit/vgpukit

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
	libvirt.org/go/libvirt v1.12001.0
	libvirt.org/go/libvirtxml v1.12001.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
