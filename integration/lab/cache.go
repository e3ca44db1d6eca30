package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cache is a directory of entries, each a directory named kind-key. An entry is made aside
// and appears whole, by rename. A lock on its name lets makers wait for each other; who uses
// an entry holds the same lock shared, so that nothing in use is pruned.
type cache struct {
	dir string
}

const (
	locksDir = "locks"
	asideDir = "tmp"
	// How many entries pruning leaves.
	keepImages = 4
	keepBases  = 2
)

// entry is a cache entry in use.
type entry struct {
	dir  string
	lock *os.File
}

// release ends the use.
func (e *entry) release() error {
	if e == nil || e.lock == nil {
		return nil
	}
	return e.lock.Close()
}

func openCache(dir string) (*cache, error) {
	for _, d := range []string{locksDir, asideDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("the lab's cache: %w; set %s to a directory that can be written", err, CacheEnv)
		}
	}
	return &cache{dir}, nil
}

// entry returns the entry kind-key, made by build in an empty directory if it isn't there.
func (c *cache) entry(ctx context.Context, kind, key string, build func(ctx context.Context, dir string) error) (*entry, error) {
	name := kind + "-" + key
	final := filepath.Join(c.dir, name)
	for {
		if e, err := c.use(ctx, name); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return e, err
		}
		if err := c.create(ctx, name, final, build); err != nil {
			return nil, err
		}
	}
}

// use locks an entry that exists.
func (c *cache) use(ctx context.Context, name string) (*entry, error) {
	lock, err := c.lock(ctx, name, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.dir, name)
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil {
		lock.Close()
		return nil, err
	}
	return &entry{dir, lock}, nil
}

func (c *cache) create(ctx context.Context, name, final string, build func(ctx context.Context, dir string) error) (err error) {
	lock, err := c.lock(ctx, name, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	// Under the lock, what a killed maker of this entry left behind is nobody's.
	aside := filepath.Join(c.dir, asideDir, name)
	if err := removeTree(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(aside))
		}
	}()
	if err := build(ctx, aside); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return os.Rename(aside, final)
}

// prune removes all but the newest entries of a kind, and what killed makers left.
func (c *cache) prune(kind string, keep int) error {
	found, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type aged struct {
		name string
		used time.Time
	}
	var all []aged
	for _, f := range found {
		if !strings.HasPrefix(f.Name(), kind+"-") {
			continue
		}
		if info, err := f.Info(); err == nil {
			all = append(all, aged{f.Name(), info.ModTime()})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.After(all[j].used) })
	var errs []error
	for i, a := range all {
		if i >= keep {
			errs = append(errs, c.remove(a.name))
		}
	}
	left, err := os.ReadDir(filepath.Join(c.dir, asideDir))
	errs = append(errs, err)
	for _, f := range left {
		if strings.HasPrefix(f.Name(), kind+"-") {
			errs = append(errs, c.remove(f.Name()))
		}
	}
	return errors.Join(errs...)
}

// remove takes away an entry, or what is left of one in the making, unless it is in use.
func (c *cache) remove(name string) error {
	lock, err := c.tryLock(name, unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	aside := filepath.Join(c.dir, asideDir, name)
	if err := removeTree(aside); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(c.dir, name), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeTree(aside)
}

func (c *cache) lock(ctx context.Context, name string, how int) (*os.File, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := c.tryLock(name, how)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (c *cache) tryLock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, locksDir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// removeTree removes a file tree that may belong to the users of a user namespace.
func removeTree(dir string) error {
	// A process that was just killed may still be writing its last file.
	var err error
	for range 3 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		if os.Geteuid() != 0 && errors.Is(err, fs.ErrPermission) {
			_, err = confined(context.Background(), nil, "rm", "-rf", "--", dir)
			if err == nil {
				return nil
			}
		}
	}
	return err
}
