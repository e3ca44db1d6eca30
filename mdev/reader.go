package mdev

import (
	"io"
	"io/fs"
	"path"
	"sync"
)

// reader reads a host's files, and knows which one it is at: whoever waits for it can
// tell. It is used by one goroutine.
type reader struct {
	fs FS

	mu            sync.Mutex
	op, dir, name string
}

// at notes what is done next, to the file dir/name. It joins no names: mostly nobody asks.
func (r *reader) at(op, dir, name string) {
	r.mu.Lock()
	r.op, r.dir, r.name = op, dir, name
	r.mu.Unlock()
}

// where says what the reader is at: "read sys/class/mdev_bus/mtty/…"; "" before it begins.
func (r *reader) where() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.op == "" {
		return ""
	}
	return r.op + " " + path.Join(r.dir, r.name)
}

func (r *reader) ReadFile(name string) ([]byte, error) {
	r.at("read", "", name)
	return r.fs.ReadFile(name)
}

func (r *reader) ReadDir(name string) ([]fs.DirEntry, error) {
	r.at("list", "", name)
	return r.fs.ReadDir(name)
}

func (r *reader) Readlink(name string) (string, error) {
	r.at("read the link", "", name)
	return r.fs.Readlink(name)
}

func (r *reader) Stat(name string) (fs.FileInfo, error) {
	r.at("look at", "", name)
	return r.fs.Stat(name)
}

func (r *reader) OpenNode(name string) (io.Closer, error) {
	r.at("open", "", name)
	return r.fs.OpenNode(name)
}
