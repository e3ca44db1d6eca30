package mdevtest

import (
	"io/fs"
	"sort"
	"strings"
	"syscall"
	"time"
)

// maxLinks is how many symbolic links one resolution may follow (the kernel's
// MAXSYMLINKS).
const maxLinks = 40

// node is one directory, attribute, link or device node. The host's lock
// guards it.
type node struct {
	name   string
	parent *node
	mode   fs.FileMode

	kids   map[string]*node // directories
	sorted []fs.DirEntry    // the directory's listing; nil when stale
	fill   func(*node)      // fills a directory when it is first looked into

	target string                   // links
	read   func() (string, error)   // attributes that can be read
	write  func(data string) effect // attributes that can be written
	open   func() (func(), error)   // device nodes; returns what close does
}

// effect is what a write did: an errno, or success once wait is closed.
type effect struct {
	err  error
	wait <-chan struct{}
}

// ignore is the write of what nobody needs.
func ignore(string) effect { return effect{} }

func failed(err error) effect { return effect{err: err} }

func (h *Host) newNode(parent *node, name string, mode fs.FileMode) *node {
	n := &node{name: name, parent: parent, mode: mode}
	if parent != nil {
		kids := parent.entries()
		kids[name] = n
		parent.sorted = nil
	}
	return n
}

// dir returns the directory at a slash-separated path below n, made when it
// is not there.
func (h *Host) dir(n *node, path string) *node {
	for name := range strings.SplitSeq(path, "/") {
		kid := n.entries()[name]
		if kid == nil {
			kid = h.newNode(n, name, fs.ModeDir|0o755)
		}
		n = kid
	}
	return n
}

func (h *Host) lazyDir(n *node, name string, fill func(*node)) *node {
	d := h.newNode(n, name, fs.ModeDir|0o755)
	d.fill = fill
	return d
}

// attr adds a file; its mode follows from what can be done with it.
func (h *Host) attr(n *node, name string, read func() (string, error), write func(string) effect) *node {
	var mode fs.FileMode
	if read != nil {
		mode |= 0o444
	}
	if write != nil {
		mode |= 0o200
	}
	f := h.newNode(n, name, mode)
	f.read, f.write = read, write
	return f
}

func (h *Host) text(n *node, name, value string) *node {
	return h.attr(n, name, func() (string, error) { return value, nil }, nil)
}

// link adds a relative link to another node, as sysfs_create_link does.
func (h *Host) link(n *node, name string, to *node) *node {
	l := h.newNode(n, name, fs.ModeSymlink|0o777)
	l.target = relative(n, to)
	return l
}

// drop takes the named entry out of a directory that may be nil.
func (n *node) drop(name string) {
	if n == nil {
		return
	}
	if _, ok := n.entries()[name]; ok {
		delete(n.kids, name)
		n.sorted = nil
	}
}

// detach takes the node out of its directory.
func (n *node) detach() {
	if n != nil && n.parent != nil && n.parent.kids[n.name] == n {
		n.parent.drop(n.name)
	}
}

func (n *node) isDir() bool { return n.mode.IsDir() }

// entries returns the map of a directory, filled.
func (n *node) entries() map[string]*node {
	if n.kids == nil {
		n.kids = make(map[string]*node)
	}
	if fill := n.fill; fill != nil {
		n.fill = nil
		fill(n)
	}
	return n.kids
}

func (n *node) list() []fs.DirEntry {
	kids := n.entries()
	if n.sorted == nil {
		n.sorted = make([]fs.DirEntry, 0, len(kids))
		for _, kid := range kids {
			n.sorted = append(n.sorted, kid.info())
		}
		sort.Slice(n.sorted, func(i, j int) bool { return n.sorted[i].Name() < n.sorted[j].Name() })
	}
	return append([]fs.DirEntry(nil), n.sorted...)
}

// path returns the node's name below the root: "sys/bus/mdev".
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, "/")
}

// relative returns the link text that leads from directory n to node to.
func relative(n, to *node) string {
	from, dest := strings.Split(n.path(), "/"), strings.Split(to.path(), "/")
	for len(from) > 0 && len(dest) > 1 && from[0] == dest[0] {
		from, dest = from[1:], dest[1:]
	}
	return strings.Repeat("../", len(from)) + strings.Join(dest, "/")
}

// walk resolves a name as the kernel's path walk does. A link in the last
// place is followed only when follow is set.
func (h *Host) walk(name string, follow bool) (*node, error) {
	return h.walkFrom(h.root, name, follow, 0)
}

func (h *Host) walkFrom(n *node, name string, follow bool, links int) (*node, error) {
	for name != "" {
		var part string
		part, name, _ = strings.Cut(name, "/")
		if part == "" {
			continue
		}
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		switch part {
		case ".":
			continue
		case "..":
			if n.parent != nil {
				n = n.parent
			}
			continue
		}
		kid := n.entries()[part]
		if kid == nil {
			return nil, syscall.ENOENT
		}
		if kid.mode&fs.ModeSymlink != 0 && (follow || name != "") {
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			base := n
			if strings.HasPrefix(kid.target, "/") {
				base = h.root
			}
			dest, err := h.walkFrom(base, kid.target, true, links)
			if err != nil {
				return nil, err
			}
			n = dest
			continue
		}
		n = kid
	}
	return n, nil
}

// fileInfo is a node at one moment: an fs.FileInfo and an fs.DirEntry.
type fileInfo struct {
	name string
	mode fs.FileMode
	size int64
}

func (n *node) info() *fileInfo {
	i := &fileInfo{name: n.name, mode: n.mode}
	switch {
	case n.mode.IsRegular():
		i.size = 4096 // what sysfs says of every attribute
	case n.mode&fs.ModeSymlink != 0:
		i.size = int64(len(n.target))
	}
	return i
}

func (i *fileInfo) Name() string               { return i.name }
func (i *fileInfo) Size() int64                { return i.size }
func (i *fileInfo) Mode() fs.FileMode          { return i.mode }
func (i *fileInfo) Type() fs.FileMode          { return i.mode.Type() }
func (i *fileInfo) ModTime() time.Time         { return time.Unix(0, 0) }
func (i *fileInfo) IsDir() bool                { return i.mode.IsDir() }
func (i *fileInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i *fileInfo) Sys() any                   { return nil }
