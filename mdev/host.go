package mdev

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// Config says where a host's files are. The zero value is this machine.
type Config struct {
	Root   string       // default "/"; holds sys/, dev/, proc/ and etc/
	FS     FS           // default: the operating system's files under Root
	Source Source       // default: none; what only NVML tells is not known
	Logger *slog.Logger // default: silence
}

// Host is one machine's vGPUs. It holds no open files and is safe for
// concurrent use.
type Host struct {
	root string // "" when fs was given
	fs   FS
	log  *slog.Logger
	from Source // nil: none

	stuck  atomic.Int64 // reads that go on alone
	shared shared       // readings of the inventory

	names  sync.Map // vendor-VFIO type id -> name, as once seen
	boards sync.Map // board -> GiB, of those that no table has, as once seen
}

// Open returns the host under cfg.Root. A host without any vGPU support is
// an empty host and no error. Nothing needs to be closed.
func Open(cfg Config) (*Host, error) {
	h := &Host{fs: cfg.FS, log: cfg.Logger, from: cfg.Source}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.fs == nil {
		root := cfg.Root
		if root == "" {
			root = "/"
		}
		abs, err := filepath.Abs(root)
		if err != nil {
			return nil, explain("open host", root, anyFile, err)
		}
		h.root = abs
		files := newOSFS(abs)
		const next = "name a directory that holds sys/, dev/ and proc/"
		switch info, err := files.Stat("."); {
		case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
			return nil, &Error{Op: "open host", Object: abs, Meaning: "the root is not a directory", Next: next, Kind: ErrInvalid}
		case absent(err):
			return nil, &Error{Op: "open host", Object: abs, Errno: errnoOf(err), Meaning: "there is no such root", Next: next, Kind: ErrNotFound}
		case err != nil:
			return nil, explain("open host", abs, anyFile, err)
		}
		h.fs = files
	}
	return h, nil
}
