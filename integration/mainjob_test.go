//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// guestSees returns what the guest's PCI bus has at an address.
func guestSees(t testing.TB, r *rig, vm, address string) string {
	t.Helper()
	a, err := domain.ParseAddress(address)
	require.NoError(t, err)
	text, err := r.conn.Monitor(t.Context(), vm, "info pci")
	require.NoError(t, err)
	_, after, found := strings.Cut(text, fmt.Sprintf("Bus %2d, device %3d, function %d:", a.Bus, a.Slot, a.Function))
	require.True(t, found, "the guest has nothing at %s:\n%s", address, text)
	about, _, _ := strings.Cut(after, "  Bus")
	return about
}

// TestMainJob: VMs with one and with two vGPUs are provisioned, started, seen by
// the guest at the addresses that we chose, stopped and torn down; nothing is left.
func TestMainJob(t *testing.T) {
	for _, c := range []struct {
		name  string
		life  vgpu.Lifetime
		vgpus []vgpu.Request
		ids   []string // what the guest sees: vendor:device
	}{
		{"one display", vgpu.Reserved, []vgpu.Request{{Type: "mdpy-xga", Address: "0000:00:08.0", Display: "on", RAMFB: "on"}}, []string{"1b36:000f"}},
		{"one serial port while running", vgpu.WhileRunning, []vgpu.Request{{Type: "mtty-1", Address: "0000:00:08.0"}}, []string{"4348:3253"}},
		{"two of two parents", vgpu.Reserved, []vgpu.Request{
			{Type: "mdpy-xga", Address: "0000:00:08.0", Display: "on", RAMFB: "on"},
			{Type: "mtty-2", Address: "0000:00:09.0"},
		}, []string{"1b36:000f", "4348:3253"}},
		{"two at planned addresses", vgpu.WhileRunning, []vgpu.Request{{Type: "mtty-1"}, {Type: "mtty-1"}}, []string{"4348:3253", "4348:3253"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			ctx := within(t, 2*time.Minute)
			before := r.state(t)
			vm, err := r.m.Provision(ctx, vgpu.ProvisionRequest{Domain: document("vgpukit-test-main"), VGPUs: c.vgpus, Lifetime: c.life})
			require.NoError(t, err)
			vm, err = r.m.Start(ctx, vm.Name, vgpu.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, vgpu.StateRunning, vm.State)
			require.Len(t, vm.VGPUs, len(c.vgpus))
			for i, g := range vm.VGPUs {
				if c.vgpus[i].Address != "" {
					assert.Equal(t, c.vgpus[i].Address, g.Address)
				}
				assert.Contains(t, guestSees(t, r, vm.Name, g.Address), "PCI device "+c.ids[i])
			}
			if c.vgpus[0].Display == "on" {
				image, mime, err := r.conn.Screenshot(ctx, vm.Name, 0)
				require.NoError(t, err)
				assert.Equal(t, "image/png", mime)
				picture, err := png.Decode(bytes.NewReader(image))
				require.NoError(t, err)
				assert.Equal(t, "(1024,768)", picture.Bounds().Size().String(), "the mediated display is XGA")
			}
			vm, err = r.m.Stop(ctx, vm.Name, powerOff)
			require.NoError(t, err)
			assert.Equal(t, vgpu.StateOff, vm.State)
			require.NoError(t, r.m.Teardown(ctx, vm.Name, vgpu.TeardownOptions{Stop: powerOff}))
			assert.Equal(t, before, r.state(t), "nothing is left")
		})
	}
}

// TestDensity: two VMs share a parent, and a vGPU in use is refused at once with
// the VM's name, by the device and by the VM that wants it.
func TestDensity(t *testing.T) {
	r := newRig(t)
	ctx := within(t, 2*time.Minute)
	before := r.state(t)
	for _, name := range []string{"vgpukit-test-a", "vgpukit-test-b"} {
		_, err := r.m.Provision(ctx, vgpu.ProvisionRequest{Domain: document(name), VGPUs: []vgpu.Request{{Type: "mtty-2", Parent: "mtty"}}})
		require.NoError(t, err)
		vm, err := r.m.Start(ctx, name, vgpu.StartOptions{})
		require.NoError(t, err)
		begin := time.Now()
		err = r.host.Remove(ctx, vm.VGPUs[0].ID)
		require.ErrorIs(t, err, mdev.ErrInUse)
		assert.ErrorContains(t, err, name, "the error names the VM")
		assert.Less(t, time.Since(begin), 5*time.Second, "refused at once")
		device, err := r.host.Device(ctx, vm.VGPUs[0].ID)
		require.NoError(t, err, "the device is still there")
		require.NotNil(t, device.Holder)
		assert.Equal(t, name, device.Holder.VM)
	}
	for _, name := range []string{"vgpukit-test-a", "vgpukit-test-b"} {
		require.NoError(t, r.m.Teardown(ctx, name, vgpu.TeardownOptions{Stop: powerOff}))
	}
	assert.Equal(t, before, r.state(t))
}

// errInjected is what a broken host or hypervisor says.
var errInjected = errors.New("injected")

// brokenHost and brokenHypervisor do what they are asked, and say that the n-th
// change failed: the effect is there, the answer is not.
type breaker struct{ calls, at int }

func (b *breaker) after(err error) error {
	b.calls++
	if err == nil && b.calls == b.at {
		return errInjected
	}
	return err
}

type brokenHost struct {
	*mdev.Host
	*breaker
}

func (h brokenHost) Create(ctx context.Context, req mdev.CreateRequest) (mdev.Created, error) {
	made, err := h.Host.Create(ctx, req)
	return made, h.after(err)
}

type brokenHypervisor struct {
	vgpu.Hypervisor
	*breaker
}

func (h brokenHypervisor) Define(ctx context.Context, xml string) (domain.Info, error) {
	info, err := h.Hypervisor.Define(ctx, xml)
	return info, h.after(err)
}

func (h brokenHypervisor) Start(ctx context.Context, vm string) error {
	return h.after(h.Hypervisor.Start(ctx, vm))
}

// TestFailureAfterEachStep: whichever change of an operation is followed by a
// failure, the host is as before.
func TestFailureAfterEachStep(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, board board) {
		r := board.rig(t)
		ctx := within(t, 5*time.Minute)
		before := r.state(t)
		changes := len(board.types) + 1 // the vGPUs, and the definition or the start
		for at := 1; ; at++ {
			b := &breaker{at: at}
			m := r.manager(t, brokenHost{r.host, b}, brokenHypervisor{r.conn, b})
			_, err := m.Provision(ctx, board.victim(vgpu.Reserved))
			if err == nil {
				require.Equal(t, changes+1, at, "each change was to fail")
				break
			}
			require.ErrorIs(t, err, errInjected)
			assert.Equal(t, before, r.state(t), "provision, change %d", at)
		}
		require.NoError(t, r.m.Teardown(ctx, victim, vgpu.TeardownOptions{Stop: powerOff}))

		_, err := r.m.Provision(ctx, board.victim(vgpu.WhileRunning))
		require.NoError(t, err)
		off := r.state(t)
		for at := 1; ; at++ {
			b := &breaker{at: at}
			m := r.manager(t, brokenHost{r.host, b}, brokenHypervisor{r.conn, b})
			_, err := m.Start(ctx, victim, vgpu.StartOptions{})
			if err == nil {
				require.Equal(t, changes+1, at, "each change was to fail")
				break
			}
			require.ErrorIs(t, err, errInjected)
			assert.Equal(t, off, r.state(t), "start, change %d", at)
		}
		require.NoError(t, r.m.Teardown(ctx, victim, vgpu.TeardownOptions{Stop: powerOff}))
		assert.Equal(t, before, r.state(t))
	})
}

// TestBadInput: what is wrong is refused with its kind, before anything is
// touched.
func TestBadInput(t *testing.T) {
	r := newRig(t)
	ctx := within(t, time.Minute)
	before := r.state(t)
	one := func(q vgpu.Request) vgpu.ProvisionRequest {
		return vgpu.ProvisionRequest{Domain: document("vgpukit-test-bad"), VGPUs: []vgpu.Request{q}}
	}
	taken := strings.Replace(document("vgpukit-test-bad"), "</devices>",
		"<memballoon model='virtio'><address type='pci' domain='0' bus='0' slot='8' function='0'/></memballoon></devices>", 1)
	for name, c := range map[string]struct {
		req  vgpu.ProvisionRequest
		kind error
	}{
		"unknown type":            {one(vgpu.Request{Type: "mtty-9"}), vgpu.ErrNotFound},
		"type with a path":        {one(vgpu.Request{Type: "../../../etc"}), vgpu.ErrNotFound},
		"unknown parent":          {one(vgpu.Request{Type: "mtty-1", Parent: "0000:99:00.0"}), vgpu.ErrNotFound},
		"malformed address":       {one(vgpu.Request{Type: "mtty-1", Address: "8"}), vgpu.ErrInvalid},
		"address in use":          {vgpu.ProvisionRequest{Domain: taken, VGPUs: []vgpu.Request{{Type: "mtty-1", Address: "0000:00:08.0"}}}, vgpu.ErrInvalid},
		"not a domain":            {vgpu.ProvisionRequest{Domain: "<pool/>", VGPUs: []vgpu.Request{{Type: "mtty-1"}}}, vgpu.ErrInvalid},
		"a domain without a name": {vgpu.ProvisionRequest{Domain: "<domain type='qemu'/>", VGPUs: []vgpu.Request{{Type: "mtty-1"}}}, vgpu.ErrInvalid},
		"no vGPUs":                {vgpu.ProvisionRequest{Domain: document("vgpukit-test-bad")}, vgpu.ErrInvalid},
		"more than there is":      {vgpu.ProvisionRequest{Domain: document("vgpukit-test-bad"), VGPUs: make13()}, vgpu.ErrNoCapacity},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.m.Provision(ctx, c.req)
			require.ErrorIs(t, err, c.kind)
			var hint interface{ Hint() string }
			require.ErrorAs(t, err, &hint)
			assert.NotEmpty(t, hint.Hint(), "an error tells what to do: %v", err)
			assert.Equal(t, before, r.state(t))
		})
	}
	_, err := r.m.Start(ctx, "vgpukit-test-nowhere", vgpu.StartOptions{})
	require.ErrorIs(t, err, vgpu.ErrNotFound)
	require.ErrorIs(t, r.host.Remove(ctx, uuid.NewString()), mdev.ErrNotFound)
	require.ErrorIs(t, r.host.Remove(ctx, "not-a-uuid"), mdev.ErrInvalid)
}

// make13 asks for one two-port card more than mtty's 24 ports allow.
func make13() []vgpu.Request {
	var requests []vgpu.Request
	for range 13 {
		requests = append(requests, vgpu.Request{Type: "mtty-2"})
	}
	return requests
}
