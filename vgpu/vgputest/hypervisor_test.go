package vgputest_test

import (
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

var _ vgpu.Hypervisor = (*vgputest.Hypervisor)(nil)
