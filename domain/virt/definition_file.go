//go:build cgo

package virt

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/libvirtid"
)

// maxDefinition is more than any definition has.
const maxDefinition = 16 << 20

// HasDefinitionFile tells whether libvirt keeps a definition of a VM on this machine's disk. It
// shows a VM only if it could load that, and if its access control permits. Of a libvirt whose
// files are elsewhere it is false.
func (c *Conn) HasDefinitionFile(ctx context.Context, vm uuid.UUID) (bool, error) {
	dir := definitionDir(c.URI())
	if dir == "" {
		return false, nil
	}
	return definitionIn(ctx, dir, vm)
}

// definitionDir is where a libvirt keeps its definitions; "" if that is not known.
func definitionDir(uri string) string {
	id, err := libvirtid.Parse(uri)
	switch {
	case err != nil || !id.Local() || id.Socket != "" || id.Driver != "qemu":
		return ""
	case id.Path == "system":
		return "/etc/libvirt/qemu"
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(config, "libvirt/qemu")
}

func definitionIn(ctx context.Context, dir string, vm uuid.UUID) (bool, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	failed := func(path string, err error) error {
		return &Error{Op: "look for", Object: "a definition of " + vm.String(), Meaning: "libvirt's file " + path + " cannot be read", Next: "run as root", Err: err, Kind: domain.ErrPermission}
	}
	if err != nil {
		return false, failed(dir, err)
	}
	for _, file := range files {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if !file.Type().IsRegular() || !strings.HasSuffix(file.Name(), ".xml") {
			continue
		}
		path := filepath.Join(dir, file.Name())
		if info, err := file.Info(); err != nil || info.Size() > maxDefinition {
			continue
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, failed(path, err)
		}
		if bytes.Contains(data, []byte("<uuid>"+vm.String()+"</uuid>")) { // as libvirt writes it
			return true, nil
		}
	}
	return false, nil
}
