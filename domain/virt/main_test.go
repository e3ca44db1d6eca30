//go:build cgo

package virt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// handles counts the libvirt handles that are held now.
var handles = struct {
	sync.Mutex
	now, taken map[string]int
}{now: map[string]int{}, taken: map[string]int{}}

// TestMain keeps the promise that no handle, socket or goroutine is left when all
// connections are closed; the event loop's goroutine stays.
func TestMain(m *testing.M) {
	onHandle = func(kind string, delta int) {
		handles.Lock()
		defer handles.Unlock()
		handles.now[kind] += delta
		if delta > 0 {
			handles.taken[kind] += delta
		}
	}
	code := m.Run()
	if code == 0 {
		if err := settled(1+1, 10*time.Second); err != nil { // this one and the event loop
			fmt.Fprintln(os.Stderr, "leak:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// settled waits until no handle is held and at most goroutines run.
func settled(goroutines int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := leaks(goroutines)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func leaks(goroutines int) error {
	handles.Lock()
	defer handles.Unlock()
	for kind, n := range handles.now {
		if n != 0 {
			return fmt.Errorf("%d handles of kind %s are held", n, kind)
		}
	}
	if n := sockets(); n != 0 {
		return fmt.Errorf("%d sockets are open: libvirt still has connections", n)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		stacks := make([]byte, 1<<20)
		return fmt.Errorf("%d goroutines, want %d\n%s", n, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	return nil
}

func sockets() (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// testHost is a host of the test driver that only this test sees: one running
// VM "one", and "two", which is shut off.
const testHost = `<node>
<domain type='test' id='1' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>one</name><uuid>11111111-1111-4111-8111-111111111111</uuid>
  <memory>65536</memory><os><type>hvm</type></os>
</domain>
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>two</name><uuid>22222222-2222-4222-8222-222222222222</uuid>
  <memory>65536</memory><os><type>hvm</type></os>
  <test:runstate>5</test:runstate>
</domain>
</node>`

func testURI(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "host.xml")
	require.NoError(t, os.WriteFile(path, []byte(testHost), 0o600))
	return "test://" + path
}

func openTest(t testing.TB) *Conn { return openURI(t, Config{URI: testURI(t)}) }

func openURI(t testing.TB, cfg Config) *Conn {
	c, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// within bounds a test's wait; the bound is no part of what is tested.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// next returns the next event, which must come.
func next(t testing.TB, events <-chan domain.Event) domain.Event {
	t.Helper()
	select {
	case e, ok := <-events:
		require.True(t, ok, "the channel was closed")
		return e
	case <-within(t).Done():
		require.FailNow(t, "no event came")
		return domain.Event{}
	}
}
