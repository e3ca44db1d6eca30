package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// mostLinks on the way to a directory; the kernel allows as many.
const mostLinks = 40

// trust refuses the directory, or one of its places, if others than root and this user
// may write it or exchange it, or a link or directory above it, for another.
func (d *Dir) trust(path string) error {
	full, err := filepath.Abs(path)
	if err != nil {
		return d.explain(err)
	}
	own, err := filepath.Abs(d.path)
	if err != nil {
		return d.explain(err)
	}
	way := way{own: own, user: os.Geteuid(), unmapped: unmapped()}
	if err := way.walk("/", full); err != nil {
		var refused *fault.Error
		if errors.As(err, &refused) {
			return refused
		}
		return d.explain(err)
	}
	return nil
}

// way is that from the root to a directory.
type way struct {
	own      string // the state directory: it and what is below may not be shared at all
	user     int
	unmapped int // the owner of files of other user namespaces; -1: there are none
	links    int
	private  bool // a directory above lets nobody else in
}

// walk checks a directory and then, one by one, what leads from it to a path.
func (w *way) walk(at, path string) error {
	info, err := os.Lstat(at)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return w.follow(at, path, info)
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: at, Err: unix.ENOTDIR}
	}
	if err := w.check(at, info); err != nil || at == path {
		return err
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(path, at), "/")
	next, _, _ := strings.Cut(rest, "/")
	return w.walk(filepath.Join(at, next), path)
}

// follow goes on where a link leads to.
func (w *way) follow(at, path string, info fs.FileInfo) error {
	if w.links++; w.links > mostLinks {
		return &fs.PathError{Op: "open", Path: at, Err: unix.ELOOP}
	}
	if strings.HasPrefix(at, w.own+"/") {
		return refuse(at, at+" is a link", "rm "+at)
	}
	if owner := w.owner(info); !w.trusted(owner) {
		return refuse(at, fmt.Sprintf("the link %s is of user %d, who may have it lead elsewhere", at, owner), "chown -h root "+at)
	}
	target, err := os.Readlink(at)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(at), target)
	}
	if at == w.own || strings.HasPrefix(w.own, at+"/") {
		w.own = filepath.Join(target, strings.TrimPrefix(w.own, at))
	}
	w.private = false
	return w.walk("/", filepath.Join(target, strings.TrimPrefix(path, at)))
}

// check refuses a directory whose entries others may exchange.
func (w *way) check(at string, info fs.FileInfo) error {
	owner, mode := w.owner(info), info.Mode()
	own := at == w.own || strings.HasPrefix(at, w.own+"/")
	if !w.trusted(owner) && (own || owner != w.unmapped) {
		command := ""
		if own {
			command = "chown root " + at
		}
		return refuse(at, fmt.Sprintf("the directory %s is of user %d, who may change what is in it", at, owner), command)
	}
	writers := ""
	switch sticky := mode&fs.ModeSticky != 0 && !own; { // there one may only exchange one's own
	case sticky:
	case mode&0o002 != 0:
		writers = "everybody"
	case mode&0o020 != 0 && !w.private:
		writers = "its group"
	}
	if writers != "" {
		return refuse(at, fmt.Sprintf("the directory %s may be written by %s (mode %04o)", at, writers, mode.Perm()), "chmod go-w "+at)
	}
	w.private = w.private || mode&0o011 == 0
	return nil
}

func (w *way) trusted(owner int) bool { return owner == 0 || owner == w.user }

func (w *way) owner(info fs.FileInfo) int {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}

// unmapped is the user that the owners of files seem to be who have no number in this
// process's user namespace; whoever they are, such directories are the machine's.
func unmapped() int {
	none := -1
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(users)), " ") == "0 0 4294967295" {
		return none
	}
	number, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return none
	}
	id := none
	if _, err := fmt.Sscan(string(number), &id); err != nil {
		return none
	}
	return id
}

// refuse says what is wrong with a path, and the command that mends it, if one should.
func refuse(path, what, command string) error {
	next := "choose a state directory whose way from the root is only root's or this user's"
	if command != "" {
		next = "run `" + command + "`, if you know that nobody else had his hands in it, or choose another state directory"
	}
	return &fault.Error{
		Op: "state directory", Object: path, Kind: fault.Permission, Next: next,
		Meaning: what + ": what is found there could be another's word",
	}
}
