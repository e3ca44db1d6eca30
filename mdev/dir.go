package mdev

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dir reads attributes and links of one directory. On the operating system's
// files it holds the directory open, so that the kernel does not walk the
// whole path for each attribute; on another FS it joins names.
// It is for one goroutine.
type dir struct {
	fs   *reader
	path string
	buf  []byte

	system *osFS // nil: not the operating system's
	fd     int
}

// openDir opens the directory at name. buf is where attributes are read to;
// it holds at least readBufferSize bytes.
func openDir(files *reader, name string, buf []byte) (*dir, error) {
	d := &dir{fs: files, path: name, buf: buf, fd: -1}
	if system, ok := files.fs.(*osFS); ok {
		files.at("open", "", name)
		fd, err := system.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		d.system, d.fd = system, fd
		return d, nil
	}
	if _, err := files.Stat(name); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *dir) close() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
	}
}

// names returns the sorted names in the directory, or in the one named sub.
func (d *dir) names() ([]string, error) {
	if d.fd < 0 {
		entries, err := d.fs.ReadDir(d.path)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(entries))
		for i, entry := range entries {
			names[i] = entry.Name()
		}
		return names, nil
	}
	d.fs.at("list", "", d.path)
	names := make([]string, 0, 64)
	for {
		n, err := unix.Getdents(d.fd, d.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.path, Err: err}
		}
		if n <= 0 {
			break
		}
		names = appendDirents(names, d.buf[:n])
	}
	sort.Strings(names)
	return names, nil
}

// read returns an attribute without the white space around it. The bytes are
// valid until the next read.
func (d *dir) read(name string) ([]byte, error) {
	if d.fd < 0 {
		data, err := d.fs.ReadFile(path.Join(d.path, name))
		return bytes.TrimSpace(data), err
	}
	d.fs.at("read", d.path, name)
	fd, err := d.system.openRegular(d.fd, d.path, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	n, err := readFD(fd, d.buf)
	_ = unix.Close(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path.Join(d.path, name), Err: err}
	}
	return bytes.TrimSpace(d.buf[:n]), nil
}

// number reads a decimal number.
func (d *dir) number(name string) (int, error) {
	data, err := d.read(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// link returns a link's target as it is written, or an error.
func (d *dir) link(name string) (string, error) {
	if d.fd < 0 {
		return d.fs.Readlink(path.Join(d.path, name))
	}
	d.fs.at("read the link", d.path, name)
	n, err := unix.Readlinkat(d.fd, name, d.buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path.Join(d.path, name), Err: err}
	}
	return string(d.buf[:n]), nil
}

// base returns the last element of a link's target, or "" when there is no
// such link.
func (d *dir) base(name string) string {
	target, err := d.link(name)
	if err != nil {
		return ""
	}
	return target[strings.LastIndexByte(target, '/')+1:]
}

// listDir returns the sorted names in a directory.
func listDir(files *reader, name string, buf []byte) ([]string, error) {
	d, err := openDir(files, name, buf)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.names()
}

// direntName is where the name starts in Linux's struct linux_dirent64.
const direntName = 19

func appendDirents(names []string, buf []byte) []string {
	for len(buf) > direntName {
		size := int(binary.NativeEndian.Uint16(buf[16:18]))
		if size <= direntName || size > len(buf) {
			break
		}
		name := buf[direntName:size]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if s := string(name); s != "." && s != ".." {
			names = append(names, s)
		}
		buf = buf[size:]
	}
	return names
}
