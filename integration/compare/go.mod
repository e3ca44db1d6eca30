module github.com/vgpukit/vgpukit/integration/compare

go 1.26.0

require (
	github.com/NVIDIA/go-nvlib v0.13.0
	github.com/stretchr/testify v1.12.1
	github.com/vgpukit/vgpukit v0.1.0
	github.com/vgpukit/vgpukit/examples/vgpuctl v0.1.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/hanwen/go-fuse/v2 v2.12.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	libvirt.org/go/libvirtxml v1.12001.0 // indirect
)
