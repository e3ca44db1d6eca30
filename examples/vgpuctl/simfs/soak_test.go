package simfs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const soakRoot = "VGPUKIT_SIMFS_SOAK" // tells the child process where the host is mounted

// TestSoak: 64 goroutines in two processes create and remove on one parent of a
// mounted host: never over capacity, nothing left over, no error but the lack of
// room. VGPUKIT_SOAK says for how long.
func TestSoak(t *testing.T) {
	duration := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("VGPUKIT_SOAK")); err == nil {
		duration = d
	}
	if root := os.Getenv(soakRoot); root != "" {
		t.Logf("%d rounds", soak(t, root, duration))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	board, err := mdevtest.NewBoard("mtty")
	if err != nil {
		t.Fatal(err)
	}
	sim := mdevtest.New(board)
	root := t.TempDir()
	server, err := simfs.Mount(root, sim, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSoak$", "-test.v")
			child.Env = append(os.Environ(), soakRoot+"="+root)
			out, err := child.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := host.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range inv.GPUs[0].Parents {
		if len(p.Devices) != 0 || p.Types[0].Available != 24 {
			t.Errorf("left over: %v, %d of 24 ports free", p.Devices, p.Types[0].Available)
		}
	}
}

func soak(t *testing.T, root string, duration time.Duration) (rounds int) {
	host, err := mdev.Open(mdev.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), duration+30*time.Second)
	defer cancel()
	until := time.Now().Add(duration)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
	)
	for n := range 32 {
		group.Go(func() {
			for time.Now().Before(until) {
				made, err := host.Create(ctx, mdev.CreateRequest{Type: "mtty-" + strconv.Itoa(1+n%2), Parent: "mtty"})
				if err == nil {
					err = host.Remove(ctx, made.ID)
				} else if errors.Is(err, mdev.ErrNoCapacity) {
					err = nil
				}
				mu.Lock()
				if rounds++; err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	for time.Now().Before(until) {
		inv, err := host.Inventory(ctx)
		if err != nil {
			t.Error(err)
			break
		}
		for _, p := range inv.GPUs[0].Parents {
			if free := p.Types[0].Available; free < 0 || free > 24 {
				t.Errorf("%d of 24 ports free", free)
			}
		}
	}
	group.Wait()
	if rounds == 0 {
		t.Error("nothing was done")
	}
	return rounds
}
