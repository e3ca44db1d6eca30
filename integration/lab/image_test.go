package lab

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// No two lists of parts share a key, and the same list always has the same.
func TestKey(t *testing.T) {
	lists := [][]string{{}, {""}, {"ab"}, {"a", "b"}, {"a", "", "b"}, {"1:a"}}
	seen := map[string][]string{}
	for _, l := range lists {
		var parts [][]byte
		for _, s := range l {
			parts = append(parts, []byte(s))
		}
		k := key(parts...)
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q share a key", l, other)
		}
		if k != key(parts...) {
			t.Errorf("%q has two keys", l)
		}
		seen[k] = l
	}
}

// The simulated boards are a layer of their own: an image without them is not rebuilt when
// their sources change.
func TestImageKeyOfLayers(t *testing.T) {
	plain, err := imageKey(false)
	if err != nil {
		t.Fatal(err)
	}
	boards, err := imageKey(true)
	if err != nil {
		t.Fatal(err)
	}
	if plain == boards {
		t.Error("an image with and one without simulated boards share a key")
	}
}

func TestOverlay(t *testing.T) {
	base, root := t.TempDir(), t.TempDir()
	shared := filepath.Join(base, "conf")
	if err := os.WriteFile(shared, []byte("base"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(shared, filepath.Join(root, "etc/conf")); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"f/etc/conf":    {Data: []byte("ours")},
		"f/usr/bin/run": {Data: []byte("#!/bin/sh\n")},
	}
	if err := overlay(files, "f", root); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(shared); err != nil || string(data) != "base" {
		t.Errorf("the linked base became %q, %v", data, err)
	}
	for name, mode := range map[string]os.FileMode{"etc/conf": 0o644, "usr/bin/run": 0o755} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestModuleClosure(t *testing.T) {
	const dep = `kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz
kernel/fs/jbd2/jbd2.ko.xz: kernel/lib/crc16.ko.xz
kernel/lib/crc16.ko.xz:
kernel/drivers/vfio/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz
kernel/drivers/vfio/vfio.ko.xz:
`
	got, err := moduleClosure(dep, []string{"ext4", "vfio_pci", "crc16"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kernel/lib/crc16.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/ext4/ext4.ko.xz",
		"kernel/drivers/vfio/vfio.ko.xz", "kernel/drivers/vfio/vfio-pci.ko.xz",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if _, err := moduleClosure(dep, []string{"nvidia"}); err == nil || !strings.Contains(err.Error(), "nvidia") {
		t.Errorf("an unknown module: %v", err)
	}
}

func bzImage(payload string) []byte {
	image := make([]byte, 5*512, 4096)
	copy(image[0x202:], "HdrS")
	image[0x1f1] = 4
	binary.LittleEndian.PutUint32(image[0x248:], 16)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(payload)+4))
	image = append(image, make([]byte, 16)...)
	return append(append(image, payload...), 0, 0, 0, 0)
}

func TestKernelPayload(t *testing.T) {
	const zstd = "\x28\xb5\x2f\xfd...."
	const xz = "\xfd7zXZ\x00.."
	for payload, want := range map[string]string{zstd: "vmlinux.zst", xz: "vmlinux.xz"} {
		name, got, err := kernelPayload(bzImage(payload))
		if err != nil || name != want || string(got) != payload {
			t.Errorf("got %s %q %v", name, got, err)
		}
	}
	far := bzImage(zstd)
	binary.LittleEndian.PutUint32(far[0x248:], 1<<30)
	for name, bad := range map[string][]byte{
		"empty": nil, "no kernel": make([]byte, 4096), "unknown packing": bzImage("LZOLZOLZO"), "outside": far,
	} {
		if _, _, err := kernelPayload(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The initramfs is an archive that the kernel's own reader of the format takes: busybox's is
// another implementation, cpio where the host has it a third. Here its fields are checked.
func TestCpio(t *testing.T) {
	var a cpio
	a.add("bin", 0o040755, nil)
	a.add("bin/x", 0o100755, []byte("hello"))
	data := a.end()
	if len(data)%4 != 0 {
		t.Errorf("length %d", len(data))
	}
	var names []string
	for at := 0; at < len(data); {
		if string(data[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		field := func(n int) int {
			var v int
			for _, c := range data[at+6+8*n : at+14+8*n] {
				v = v<<4 + strings.IndexByte("0123456789abcdef", c)
			}
			return v
		}
		size, nameSize := field(6), field(11)
		names = append(names, string(data[at+110:at+110+nameSize-1]))
		at = (at + 110 + nameSize + 3) &^ 3
		if size > 0 && string(data[at:at+size]) != "hello" {
			t.Errorf("content %q", data[at:at+size])
		}
		at = (at + size + 3) &^ 3
	}
	if want := []string{"bin", "bin/x", "TRAILER!!!"}; !slices.Equal(names, want) {
		t.Errorf("names %q", names)
	}
}

// QEMU itself opens the overlay and reads the base's bytes through it.
func TestOverlayDisk(t *testing.T) {
	dir := t.TempDir()
	base, disk := filepath.Join(dir, "base,1"), filepath.Join(dir, "disk")
	if err := os.WriteFile(base, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeOverlay(disk, base); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	offset, length := be.Uint64(data[8:]), be.Uint32(data[16:])
	if got := string(data[offset : offset+uint64(length)]); got != base {
		t.Errorf("backing file %q", got)
	}
	if be.Uint32(data) != 0x514649fb || be.Uint64(data[24:]) != 1<<20 || len(data) != 4<<16 {
		t.Errorf("header % x, length %d", data[:32], len(data))
	}
	if qemuImg, err := exec.LookPath("qemu-img"); err == nil {
		if out, err := exec.Command(qemuImg, "check", disk).CombinedOutput(); err != nil {
			t.Errorf("qemu-img check: %v\n%s", err, out)
		}
	}
	if err := writeOverlay(disk, filepath.Join(dir, "absent")); err == nil {
		t.Error("an overlay of nothing")
	}
}
