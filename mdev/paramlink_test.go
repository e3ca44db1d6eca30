package mdev

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A parameter that is a link, or is reached through one, and what is no file, are refused.
func TestParamsFollowNoLink(t *testing.T) {
	for _, framework := range []Framework{FrameworkMdev, FrameworkVendorVFIO} {
		f := newTree(t)
		dev := &Device{ID: testUUID.String(), Framework: framework, Path: "sys/devices/d"}
		f.file("sys/devices/d/nvidia/vgpu_params", "")
		f.file("sys/other", "")
		f.link("sys/devices/d/nvidia/linked", "sys/other")
		f.link("sys/devices/d/nvidia/dangling", "sys/nothing")
		require.NoError(t, os.MkdirAll(filepath.Join(f.root, "sys/devices/d/nvidia/directory"), 0o755))
		require.NoError(t, syscall.Mkfifo(filepath.Join(f.root, "sys/devices/d/nvidia/fifo"), 0o644))
		s := f.host().newScan()
		for _, name := range []string{"vgpu_params", "nvidia/vgpu_params"} {
			file, err := s.paramFile(dev, Param{Name: name})
			require.NoError(t, err)
			require.Equal(t, "sys/devices/d/nvidia/vgpu_params", file)
		}
		for _, name := range []string{"linked", "dangling", "directory", "fifo"} {
			_, err := s.paramFile(dev, Param{Name: name})
			require.ErrorIs(t, err, ErrInvalid, name)
		}
		require.NoError(t, os.Rename(filepath.Join(f.root, "sys/devices/d/nvidia"), filepath.Join(f.root, "sys/moved")))
		f.link("sys/devices/d/nvidia", "sys/moved")
		_, err := s.paramFile(dev, Param{Name: "vgpu_params"})
		require.ErrorIs(t, err, ErrInvalid, "the directory is a link")
	}
}
