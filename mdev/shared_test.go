package mdev_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// begins matches the first access of a reading.
var begins = mdevtest.Fault{Op: mdevtest.OpStat, Path: "sys/class/mdev_bus", N: 1, Hang: true}

// deviceIDs are the ids of an inventory's devices.
func deviceIDs(inv *mdev.Inventory) map[string]bool {
	ids := map[string]bool{}
	for i := range inv.GPUs {
		for _, p := range inv.GPUs[i].Parents {
			for _, dev := range p.Devices {
				ids[dev.ID] = true
			}
		}
	}
	return ids
}

// Of many who ask while the host is being read, all are answered by one more reading.
func TestInventoriesThatComeTogetherShareAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "a40,vfs=4")
		one := accessesOf(sim, func() { inventory(t, host) })
		sim.ResetAccesses()
		letGo := sim.Fail(begins)
		var wg sync.WaitGroup
		var mu sync.Mutex
		different := map[*mdev.Inventory]int{}
		ask := func() {
			inv, err := host.Inventory(t.Context())
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			different[inv]++
		}
		wg.Go(ask)
		synctest.Wait()
		for range 63 {
			wg.Go(ask)
		}
		synctest.Wait()
		letGo()
		wg.Wait()
		assert.Equal(t, 2*one, sim.Accesses(), "two readings")
		assert.Len(t, different, 2)
		inventory(t, host)
		assert.Equal(t, 3*one, sim.Accesses(), "who comes later gets a reading of his own")
	})
}

// Nobody is given what was read before he asked.
func TestSharedReadingIsNeverOlderThanTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		n := accessesOf(sim, func() { inventory(t, host) })
		letGo := sim.Fail(mdevtest.Fault{N: n, Hang: true, After: true}) // all is read
		var first, second *mdev.Inventory
		var wg sync.WaitGroup
		wg.Go(func() { first, _ = host.Inventory(t.Context()) })
		synctest.Wait()
		id := uuid.NewString()
		require.NoError(t, sim.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(id)))
		wg.Go(func() { second, _ = host.Inventory(t.Context()) })
		synctest.Wait()
		letGo()
		wg.Wait()
		assert.False(t, deviceIDs(first)[id])
		assert.True(t, deviceIDs(second)[id])
	})
}

// Who no longer waits does not end the reading for the others, and a reading that hangs
// and that nobody waits for any more keeps nobody waiting.
func TestWhoLeavesASharedReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		letGo := sim.Fail(begins)
		defer letGo()
		type result struct {
			inv *mdev.Inventory
			err error
		}
		ask := func(ctx context.Context) <-chan result {
			done := make(chan result, 1)
			go func() {
				inv, err := host.Inventory(ctx)
				done <- result{inv, err}
			}()
			synctest.Wait()
			return done
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		later, cancelLater := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancelLater()
		start := time.Now()
		hung := ask(later)
		leaves, waits := ask(soon), ask(t.Context())
		r := <-leaves
		require.ErrorIs(t, r.err, context.DeadlineExceeded)
		assert.Contains(t, r.err.Error(), "sys/class/mdev_bus", "it names the file that the reading before it hangs at")
		assert.Equal(t, time.Second, time.Since(start))
		select {
		case r := <-waits:
			t.Fatalf("answered while the host is being read: %v", r)
		default:
		}
		require.ErrorIs(t, (<-hung).err, context.DeadlineExceeded)
		r = <-waits
		require.NoError(t, r.err)
		assert.Len(t, r.inv.GPUs, 1)
		assert.Equal(t, 5*time.Second, time.Since(start), "as soon as nobody waits for the reading that hangs")

		ended, end := context.WithCancel(t.Context())
		end()
		_, err := host.Inventory(ended)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Many ask and leave at any moment while devices come: whoever is answered sees all
// devices that were there when he asked.
func TestManyShareReadings(t *testing.T) {
	sim, host := simulated(t, "mtty", "a40,vfs=2")
	var mu sync.Mutex
	var made []string
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range 40 {
				if random.IntN(20) == 0 {
					id := uuid.NewString()
					if sim.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(id)) == nil {
						mu.Lock()
						made = append(made, id)
						mu.Unlock()
					}
				}
				mu.Lock()
				known := made
				mu.Unlock()
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, cancel)
				}
				inv, err := host.Inventory(ctx)
				cancel()
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					continue
				}
				seen := deviceIDs(inv)
				for _, id := range known {
					assert.True(t, seen[id], id)
				}
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, made)
}
