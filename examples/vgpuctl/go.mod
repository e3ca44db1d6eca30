module github.com/vgpukit/vgpukit/examples/vgpuctl

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/google/uuid v1.6.0
	github.com/hanwen/go-fuse/v2 v2.12.1
	github.com/stretchr/testify v1.12.1
	github.com/vgpukit/vgpukit v0.1.0
	github.com/vgpukit/vgpukit/examples/nvml v0.1.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/NVIDIA/go-nvml v0.13.4-1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	libvirt.org/go/libvirt v1.12001.0 // indirect
	libvirt.org/go/libvirtxml v1.12001.0 // indirect
)
