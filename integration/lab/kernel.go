package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// imageFormat changes when this code makes other images of the same files.
const imageFormat = "1"

// toMount are the modules that the initramfs needs before it can mount the root, and the
// network card, which comes up with it.
var toMount = []string{"crc32c_generic", "ext4", "virtio_blk", "virtio_net"}

func kernelVersion(root string) string {
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*/modules.builtin"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Base(filepath.Dir(found[len(found)-1]))
}

// installKernel puts the kernel and the initramfs beside the disk, and into root the few
// modules that the machine uses, uncompressed, so that emulated processors need not do it.
func installKernel(ctx context.Context, b base, image Image, root string) error {
	tree := b.kernelTree()
	version := kernelVersion(tree)
	if version == "" {
		return fmt.Errorf("no kernel in %s: remove the cache with `lab clean` and build again", tree)
	}
	work := filepath.Join(image.Dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)

	packed, err := os.ReadFile(filepath.Join(tree, "boot", "vmlinuz-"+version))
	if err != nil {
		return err
	}
	name, payload, err := kernelPayload(packed)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, name), payload, 0o644); err != nil {
		return err
	}

	from := filepath.Join(tree, "usr/lib/modules", version)
	to := filepath.Join(root, "usr/lib/modules", version)
	dep, err := os.ReadFile(filepath.Join(from, "modules.dep"))
	if err != nil {
		return err
	}
	list, err := guestFiles.ReadFile("guest/modules")
	if err != nil {
		return err
	}
	all := append(slices.Clone(toMount), listed(string(list))...)
	files, err := moduleClosure(string(dep), all)
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(from, f))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, path.Base(f)), data, 0o644); err != nil {
			return err
		}
	}
	const unpack = `cd /work && xz -d *.xz && for f in vmlinux.zst; do [ ! -e "$f" ] || zstd -dq --rm "$f"; done`
	if _, err := inRoot(ctx, tree, work, "sh", "-c", unpack); err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(work, strings.TrimSuffix(path.Base(f), ".xz")))
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(to, strings.TrimSuffix(f, ".xz")), data, 0o644); err != nil {
			return err
		}
	}
	for _, f := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		data, err := os.ReadFile(filepath.Join(from, f))
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(to, f), data, 0o644); err != nil {
			return err
		}
	}
	if err := installModules(filepath.Join(tree, "samples"), filepath.Join(to, "extra")); err != nil {
		return err
	}
	first, err := moduleClosure(string(dep), toMount)
	if err != nil {
		return err
	}
	if err := writeInitramfs(image.initramfs(), tree, work, first); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "vmlinux"), image.kernel())
}

// installNVSim builds the modules that simulate boards and puts them, and the files that go
// with them, into root.
func installNVSim(ctx context.Context, b base, image Image, root string) error {
	work := filepath.Join(image.Dir, "work")
	defer os.RemoveAll(work)
	if err := overlay(nvsimFiles, "nvsim", work); err != nil {
		return err
	}
	version := kernelVersion(b.kernelTree())
	if _, err := inRoot(ctx, b.kernelTree(), work, "make", "-s", "-j2", "-C", "/lib/modules/"+version+"/build", "M=/work", "modules"); err != nil {
		return err
	}
	if err := installModules(work, filepath.Join(root, "usr/lib/modules", version, "extra")); err != nil {
		return err
	}
	return overlay(nvsimFiles, "nvsim/rootfs", root)
}

func installModules(from, to string) error {
	found, err := filepath.Glob(filepath.Join(from, "*.ko"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no module was built in %s", from)
	}
	for _, f := range found {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(to, filepath.Base(f)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// kernelPayload finds the compressed ELF kernel in a bzImage (Documentation/arch/x86/boot.rst)
// and the name of a file to unpack it from. QEMU starts the ELF directly: emulated processors
// would need seconds to unpack it themselves.
func kernelPayload(image []byte) (string, []byte, error) {
	const setupSects, magic, payloadOffset, payloadLength = 0x1f1, 0x202, 0x248, 0x24c
	if len(image) < 0x250 || string(image[magic:magic+4]) != "HdrS" {
		return "", nil, errors.New("the kernel is no bzImage")
	}
	sects := int64(image[setupSects])
	if sects == 0 {
		sects = 4
	}
	begin := (sects+1)*512 + int64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := begin + int64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > int64(len(image)) || end-begin < 8 {
		return "", nil, errors.New("the kernel's payload lies outside of its file")
	}
	payload := image[begin : end-4] // the last four bytes are the unpacked size
	switch {
	case bytes.HasPrefix(payload, []byte("\x28\xb5\x2f\xfd")):
		return "vmlinux.zst", payload, nil
	case bytes.HasPrefix(payload, []byte("\xfd7zXZ\x00")):
		return "vmlinux.xz", payload, nil
	}
	return "", nil, fmt.Errorf("the kernel is packed in an unknown way, it begins with % x", payload[:6])
}

// listed reads names, one a line; a line that begins with # is a comment.
func listed(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names
}

// moduleClosure gives the files of the named modules and of all that they depend on, each
// after what it needs, by a kernel's modules.dep.
func moduleClosure(modulesDep string, names []string) ([]string, error) {
	needs := map[string][]string{}
	byName := map[string]string{}
	for line := range strings.Lines(modulesDep) {
		file, deps, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		needs[file] = strings.Fields(deps)
		byName[moduleName(file)] = file
	}
	var files []string
	for _, n := range names {
		file, ok := byName[moduleName(n)]
		if !ok {
			return nil, fmt.Errorf("this kernel has no module %s: take it off the list if it is built in", n)
		}
		// modules.dep lists what to load first last.
		for _, f := range append(reversed(needs[file]), file) {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}
