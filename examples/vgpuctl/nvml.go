package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/vgpukit/vgpukit/examples/nvml"
	"github.com/vgpukit/vgpukit/mdev"
)

// management asks NVIDIA's management library what only it knows of a GPU. The library is loaded
// when the first GPU is asked about, so that a host without one pays nothing. Where it is missing
// nothing is known, as without a source.
type management struct{ open func() (*nvml.Source, error) }

// library is loaded once for the whole program, and stays.
var library = management{sync.OnceValues(func() (*nvml.Source, error) { return nvml.Open() })}

// source is what tells of the GPUs of the machine that we run on; of those below another root nobody
// does.
func (g *globals) source() mdev.Source {
	if filepath.Clean(g.Root) != "/" {
		return nil
	}
	return library
}

// Facts implements mdev.Source.
func (m management) Facts(ctx context.Context, address string) (mdev.Facts, error) {
	source, err := m.open()
	switch {
	case errors.Is(err, nvml.ErrMissing):
		return mdev.Facts{}, nil
	case err != nil:
		return mdev.Facts{}, err
	}
	return source.Facts(ctx, address)
}
