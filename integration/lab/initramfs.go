package lab

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// writeInitramfs writes the archive that the kernel starts from: busybox, our init, and the
// modules that the root file system needs, in the order in which to load them.
func writeInitramfs(name, kernelTree, modules string, order []string) error {
	busybox, err := os.ReadFile(filepath.Join(kernelTree, "usr/bin/busybox"))
	if err != nil {
		return err
	}
	initScript, err := guestFiles.ReadFile("guest/init")
	if err != nil {
		return err
	}
	var a cpio
	a.add("bin", 0o040755, nil)
	a.add("bin/busybox", 0o100755, busybox)
	a.add("init", 0o100755, initScript)
	a.add("modules", 0o040755, nil)
	var list strings.Builder
	for _, f := range order {
		ko := strings.TrimSuffix(path.Base(f), ".xz")
		data, err := os.ReadFile(filepath.Join(modules, ko))
		if err != nil {
			return err
		}
		a.add("modules/"+ko, 0o100644, data)
		fmt.Fprintln(&list, ko)
	}
	a.add("modules/order", 0o100644, []byte(list.String()))
	return os.WriteFile(name, a.end(), 0o644)
}

// cpio is an archive in the "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	buf   bytes.Buffer
	inode int
}

func (a *cpio) add(name string, mode int, data []byte) {
	a.inode++
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.buf.WriteString(name + "\x00")
	a.pad()
	a.buf.Write(data)
	a.pad()
}

func (a *cpio) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

func (a *cpio) end() []byte {
	a.add("TRAILER!!!", 0, nil)
	return a.buf.Bytes()
}
