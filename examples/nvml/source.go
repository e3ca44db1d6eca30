// Package nvml tells package mdev what only NVIDIA's management library (NVML) knows of a GPU:
// memory, error correction, MIG mode and the sizes of GPU instances. The library is loaded at
// run time; building needs cgo and nothing of NVIDIA's.
package nvml

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/vgpukit/vgpukit/mdev"
)

// Source implements mdev.Source with NVML. It is safe for concurrent use.
type Source struct{ library nvml.Interface }

var _ mdev.Source = (*Source)(nil)

// Open loads NVML, "libnvidia-ml.so.1" unless an option names another, and begins to use it.
func Open(options ...nvml.LibraryOption) (*Source, error) {
	return New(nvml.New(options...))
}

// ErrMissing is the kind of Open's errors on a host without the library or NVIDIA's driver.
var ErrMissing = errors.New("NVIDIA's management library is not to be had")

// New begins to use a library that the caller made, such as a mock.
func New(library nvml.Interface) (*Source, error) {
	switch code := library.Init(); code {
	case nvml.SUCCESS:
		return &Source{library}, nil
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return nil, fmt.Errorf("%w: libnvidia-ml.so.1 cannot be loaded; install NVIDIA's host driver, which brings it, or leave the source out", ErrMissing)
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return nil, fmt.Errorf("%w: NVIDIA's kernel driver is not loaded; load it (modprobe nvidia), or leave the source out", ErrMissing)
	default:
		return nil, fmt.Errorf("NVIDIA's management library does not start: %w", code)
	}
}

// Close ends the use of the library.
func (s *Source) Close() error {
	if code := s.library.Shutdown(); code != nvml.SUCCESS {
		return fmt.Errorf("NVIDIA's management library does not end: %w", code)
	}
	return nil
}

// Facts implements mdev.Source. NVML cannot be interrupted: ctx is looked at before it is asked.
func (s *Source) Facts(ctx context.Context, address string) (mdev.Facts, error) {
	if err := ctx.Err(); err != nil {
		return mdev.Facts{}, err
	}
	device, code := s.library.DeviceGetHandleByPciBusId(address)
	if code != nvml.SUCCESS {
		return mdev.Facts{}, fmt.Errorf("NVML does not know the GPU %s: %w", address, code)
	}
	var facts mdev.Facts
	if version, code := s.library.SystemGetDriverVersion(); code == nvml.SUCCESS {
		facts.Driver = version
	}
	if memory, code := device.GetMemoryInfo(); code == nvml.SUCCESS {
		facts.Memory = memory.Total
	}
	if mode, _, code := device.GetEccMode(); code == nvml.SUCCESS {
		on := mode == nvml.FEATURE_ENABLED
		facts.ECC = &on
	}
	if s.library.Extensions().LookupSymbol("nvmlDeviceGetMigMode") != nil {
		return facts, nil // a driver before 450: calling what its library lacks would end the process
	}
	mode, _, code := device.GetMigMode()
	switch code {
	case nvml.SUCCESS:
	case nvml.ERROR_NOT_SUPPORTED:
		return facts, nil
	default:
		return mdev.Facts{}, fmt.Errorf("MIG mode of GPU %s: %w", address, code)
	}
	on := mode == nvml.DEVICE_MIG_ENABLE
	facts.MIG = &on
	if !on {
		return facts, nil
	}
	var err error
	if facts.Instances, err = instances(device, facts.Memory); err != nil {
		return mdev.Facts{}, fmt.Errorf("GPU instances of %s: %w", address, err)
	}
	return facts, nil
}

// instances lists the GPU instances profile by profile, as NVML does.
func instances(device nvml.Device, total uint64) ([]mdev.Instance, error) {
	var list []mdev.Instance
	for kind := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		profile, code := device.GetGpuInstanceProfileInfo(kind)
		switch code {
		case nvml.SUCCESS:
		case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_INVALID_ARGUMENT: // the board, or the driver, has none of it
			continue
		default:
			return nil, code
		}
		found, code := device.GetGpuInstances(&profile)
		if code != nvml.SUCCESS {
			return nil, code
		}
		for _, one := range found {
			info, code := one.GetInfo()
			if code != nvml.SUCCESS {
				return nil, code
			}
			if info.ProfileId != profile.Id { // some libraries list all of them each time
				continue
			}
			list = append(list, mdev.Instance{
				ID: int(info.Id), Profile: name(kind, &profile, total),
				Slices: int(profile.SliceCount), Memory: profile.MemorySizeMB << 20,
			})
		}
	}
	return list, nil
}

// attributes are what nvidia-smi adds to the names of profiles that are not plain.
var attributes = map[int]string{
	nvml.GPU_INSTANCE_PROFILE_1_SLICE_REV1: "+me", nvml.GPU_INSTANCE_PROFILE_2_SLICE_REV1: "+me",
	nvml.GPU_INSTANCE_PROFILE_1_SLICE_GFX: "+gfx", nvml.GPU_INSTANCE_PROFILE_2_SLICE_GFX: "+gfx",
	nvml.GPU_INSTANCE_PROFILE_3_SLICE_GFX: "+gfx", nvml.GPU_INSTANCE_PROFILE_4_SLICE_GFX: "+gfx",
	nvml.GPU_INSTANCE_PROFILE_1_SLICE_NO_ME: "-me", nvml.GPU_INSTANCE_PROFILE_2_SLICE_NO_ME: "-me",
	nvml.GPU_INSTANCE_PROFILE_1_SLICE_ALL_ME: "+me.all", nvml.GPU_INSTANCE_PROFILE_2_SLICE_ALL_ME: "+me.all",
}

// name is a profile's name as nvidia-smi has it, "1g.24gb+gfx": with the eighths of the GPU's
// memory that it has, in GB.
func name(kind int, p *nvml.GpuInstanceProfileInfo, total uint64) string {
	if total == 0 {
		return ""
	}
	eighths := math.Round(8 * float64(p.MemorySizeMB<<20) / float64(total))
	gib := math.Ceil(float64(total) / (1 << 30))
	return fmt.Sprintf("%dg.%.0fgb%s", p.SliceCount, math.Round(eighths/8*gib), attributes[kind])
}
