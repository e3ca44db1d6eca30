package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newCache(t *testing.T) *cache {
	t.Helper()
	c, err := openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// aside lists what is in the making.
func (c *cache) aside(t *testing.T) []string {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(c.dir, asideDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// Two builders of one entry wait for each other, and the second finds what the first made.
func TestEntryIsBuiltOnce(t *testing.T) {
	c := newCache(t)
	var builds atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			e, err := c.entry(t.Context(), "image", "k", func(_ context.Context, dir string) error {
				builds.Add(1)
				return os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if !exists(filepath.Join(e.dir, "f")) {
				t.Error("an entry without its file")
			}
			if err := e.release(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
}

// A build that fails or is interrupted leaves neither an entry nor parts of one, and the next
// build starts from nothing.
func TestFailedBuildLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	for name, fail := range map[string]func(cancel context.CancelFunc) error{
		"failed":      func(context.CancelFunc) error { return boom },
		"interrupted": func(cancel context.CancelFunc) error { cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(t)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := c.entry(ctx, "image", "k", func(_ context.Context, dir string) error {
				if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
					return err
				}
				return fail(cancel)
			})
			if !errors.Is(err, boom) && !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
			if left := c.aside(t); len(left) > 0 || exists(filepath.Join(c.dir, "image-k")) {
				t.Fatalf("left behind: %v", left)
			}
			cancel()
		})
	}
}

// What a killed builder left behind is gone before the next one starts.
func TestRestOfKilledBuilderIsRemoved(t *testing.T) {
	c := newCache(t)
	rest := filepath.Join(c.dir, asideDir, "image-k", "old")
	if err := os.MkdirAll(rest, 0o755); err != nil {
		t.Fatal(err)
	}
	e, err := c.entry(t.Context(), "image", "k", func(_ context.Context, dir string) error {
		if exists(filepath.Join(dir, "old")) {
			t.Error("the build does not start from nothing")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.release()
}

// Who waits for another builder can be interrupted.
func TestWaitingForABuilderEnds(t *testing.T) {
	c := newCache(t)
	lock, err := c.tryLock("image-k", 2 /* LOCK_EX */)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, why)
	defer cancel()
	_, err = c.entry(ctx, "image", "k", func(context.Context, string) error { return nil })
	if !errors.Is(err, why) {
		t.Fatalf("error %v", err)
	}
}

// Pruning keeps the newest entries and whatever is in use.
func TestPrune(t *testing.T) {
	c := newCache(t)
	now := time.Now()
	for i, k := range []string{"1", "2", "3", "4"} {
		e, err := c.entry(t.Context(), "image", k, func(context.Context, string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		age := now.Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(e.dir, age, age); err != nil {
			t.Fatal(err)
		}
		if k == "1" {
			defer e.release()
		} else if err := e.release(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(c.dir, asideDir, "image-gone", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.prune("image", 2); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]bool{"1": true, "2": false, "3": true, "4": true} {
		if got := exists(filepath.Join(c.dir, "image-"+k)); got != want {
			t.Errorf("entry %s there: %v, want %v", k, got, want)
		}
	}
	if left := c.aside(t); len(left) > 0 {
		t.Errorf("left aside: %v", left)
	}
}
