//go:build integration

package integration

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
)

// An address that we refuse is refused by libvirt, by QEMU or by the guest, or
// libvirt changes something else for it; one that we accept is taken as it is,
// and the started guest shows the device there.
func TestAddressTable(t *testing.T) {
	l := newAddressLab(t, 16)
	baselines := map[string]*domain.Document{}
	started := map[string][]domain.Address{}
	for _, c := range addressCases {
		text := addressGuests[c.guest].text("")
		address, err := domain.ParseAddress(c.address)
		require.NoError(t, err)
		t.Run(c.guest+" "+c.address, func(t *testing.T) {
			ours := parsed(t, text).CheckAddress(address)
			assert.Equal(t, c.refused == accepted, ours == nil, "CheckAddress: %v; %s", ours, c.refused)
			if baselines[c.guest] == nil {
				saved, err := l.define(t, text)
				require.NoError(t, err)
				baselines[c.guest] = saved
			}
			got, reason := l.verdict(t, baselines[c.guest], addressGuests[c.guest].text(hostdevElement(l.ids[0], c.address)), address, c.refused)
			assert.Equal(t, c.refused, got, reason)
			t.Logf("ours: %v; theirs: %s: %s", ours, got, reason)
		})
		if c.refused == accepted && !slices.ContainsFunc(started[c.guest], func(a domain.Address) bool {
			return a.Bus == address.Bus && a.Slot == address.Slot
		}) {
			started[c.guest] = append(started[c.guest], address)
		}
	}
	// What is accepted on one guest is started together, to save time.
	for _, name := range []string{"q35", "q35 tree", "q35 unnumbered", "q35 beside", "pc", "pc tree", "pc unnumbered", "pc beside"} {
		t.Run("started "+name, func(t *testing.T) {
			l.checkStarted(t, parsed(t, addressGuests[name].text("")), started[name])
		})
	}
}

// 1, 2, 8 and 16 vGPUs at planned addresses: libvirt takes the document
// unchanged, and the started guest shows each where we said.
func TestPlannedAddresses(t *testing.T) {
	l := newAddressLab(t, 16)
	for _, machine := range []string{"q35", "pc"} {
		for _, n := range []int{1, 2, 8, 16} {
			t.Run(fmt.Sprintf("%s %d", machine, n), func(t *testing.T) {
				// A video card, a network card and a random source without addresses are in the way.
				doc := parsed(t, addressGuest{machine: machine, devices: []string{
					"<graphics type='vnc' autoport='yes'/>", "<video><model type='vga'/></video>",
					"<interface type='user'><model type='virtio'/></interface>", rng(""),
				}}.text(""))
				addresses, err := doc.Free(n, domain.AddressRequest{})
				require.NoError(t, err)
				l.checkStarted(t, doc, addresses)
			})
		}
	}
}

// Where Free says that a device can be hot-plugged it can, and elsewhere on the
// same guest it cannot.
func TestHotplugAddresses(t *testing.T) {
	for _, c := range []struct {
		guest     string
		acpi      bool
		addresses []string
	}{
		{"q35 tree", false, []string{"00:08.0", "03:00.0", "05:02.0", "06:01.0", "07:00.0", "09:00.0", "0a:00.0"}},
		{"q35 tree", true, []string{"00:08.0", "03:00.0", "05:02.0", "06:01.0", "07:00.0", "09:00.0", "0a:00.0"}},
		{"pc tree", false, []string{"00:08.0", "01:01.0", "02:00.0", "03:01.0", "04:01.0"}},
		{"pc tree", true, []string{"00:08.0", "01:01.0", "02:00.0", "03:01.0", "04:01.0"}},
	} {
		t.Run(fmt.Sprintf("%s acpi %t", c.guest, c.acpi), func(t *testing.T) {
			l := newAddressLab(t, len(c.addresses))
			guest := addressGuests[c.guest]
			guest.acpi = c.acpi
			saved, err := l.define(t, guest.text(""))
			require.NoError(t, err)
			var free []domain.Address
			for more := free; err == nil; more, err = saved.Free(len(more)+1, domain.AddressRequest{Hotplug: true}) {
				free = more
			}
			require.NoError(t, l.conn.Start(within(t, time.Minute), addressGuestName))
			defer l.kill(t)
			for i, text := range c.addresses {
				address, err := domain.ParseAddress(text)
				require.NoError(t, err)
				err = l.conn.Attach(within(t, time.Minute), addressGuestName, hostdevElement(l.ids[i], text), domain.ScopeLive)
				assert.Equal(t, slices.Contains(free, address), err == nil, "%s: %v", text, err)
				t.Logf("%s: %v", text, err)
			}
		})
	}
}

// Root ports that we add are where we say, and so are the vGPUs behind them.
func TestAddedRootPorts(t *testing.T) {
	t.Run("nine", func(t *testing.T) {
		doc, addresses, err := parsed(t, addressGuest{machine: "q35", devices: []string{rng("")}}.text("")).AddRootPorts(9, domain.AddressRequest{Hotplug: true})
		require.NoError(t, err)
		// Not all nine: the firmware has I/O ports for eight buses at most.
		some := []domain.Address{addresses[0], addresses[1], addresses[7], addresses[8]}
		newAddressLab(t, len(some)).checkStarted(t, doc, some)
	})
	t.Run("behind ports without an index", func(t *testing.T) { // as virt-install writes them
		guest := addressGuest{machine: "q35", devices: append(unnumbered("pcie-root", "pcie-root-port"), rng(""))}
		doc, addresses, err := parsed(t, guest.text("")).AddRootPorts(2, domain.AddressRequest{})
		require.NoError(t, err)
		require.Equal(t, uint8(2), addresses[0].Bus)
		newAddressLab(t, len(addresses)).checkStarted(t, doc, addresses)
	})
}

// addressLab has devices to put at addresses, and libvirt to try it on.
type addressLab struct {
	conn *virt.Conn
	ids  []uuid.UUID // serial ports of the kernel's sample driver mtty
}

func newAddressLab(t *testing.T, devices int) *addressLab {
	t.Helper()
	host := openHost(t)
	l := &addressLab{conn: openLibvirt(t)}
	for range devices {
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1"})
		require.NoError(t, err)
		l.ids = append(l.ids, uuid.MustParse(created.ID))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			assert.NoError(t, host.Remove(ctx, created.ID))
		})
	}
	t.Cleanup(func() {
		assert.NoError(t, l.conn.Undefine(context.Background(), addressGuestName, domain.UndefineOptions{}))
	})
	return l
}

// define defines a document and returns what libvirt has made of it.
func (l *addressLab) define(t *testing.T, text string) (*domain.Document, error) {
	t.Helper()
	ctx := within(t, time.Minute)
	if _, err := l.conn.Define(ctx, text); err != nil {
		return nil, err
	}
	saved, err := l.conn.XML(ctx, addressGuestName)
	require.NoError(t, err)
	return parsed(t, saved), nil
}

func (l *addressLab) kill(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	assert.NoError(t, l.conn.Destroy(ctx, addressGuestName))
}

// checkStarted adds a vGPU at each address, defines and starts the guest, and
// looks for them in libvirt's document and on the guest's buses.
func (l *addressLab) checkStarted(t *testing.T, doc *domain.Document, addresses []domain.Address) {
	t.Helper()
	require.NotEmpty(t, addresses)
	for i, a := range addresses {
		var err error
		doc, err = doc.Add(domain.Hostdev{UUID: l.ids[i], Alias: fmt.Sprintf("ua-vgpu%d", i), Address: &a})
		require.NoError(t, err)
	}
	require.NoError(t, doc.Check())
	saved, err := l.define(t, string(doc.Bytes()))
	require.NoError(t, err)
	require.Len(t, saved.Hostdevs(), len(addresses))
	for i, h := range saved.Hostdevs() {
		require.NotNil(t, h.Address)
		require.Equal(t, addresses[i], *h.Address, "libvirt has moved it")
	}
	require.NoError(t, l.conn.Start(within(t, time.Minute), addressGuestName))
	defer l.kill(t)
	missing := func(devices []guestDevice) string {
		for i, a := range addresses {
			d, ok := findDevice(devices, fmt.Sprintf("ua-vgpu%d", i))
			if !ok {
				return a.String() + " is not there"
			}
			require.Equal(t, [2]uint8{a.Slot, a.Function}, [2]uint8{d.slot, d.function}, "%s in the guest", a)
			if !d.mapped {
				return a.String() + " has no ports yet"
			}
			if bus, ok := secondaryBus(devices, int(a.Bus)); ok {
				require.Equal(t, bus, d.bus, "the guest's number of the bus of %s", a)
			}
		}
		return ""
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the firmware has no event for it
		devices := l.infoPCI(t)
		left := missing(devices)
		if left == "" {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s; the guest has\n%s", left, describeDevices(devices))
	}
}

// verdict tries a document on the real thing and says who refuses it, if any.
// QEMU and the guest are asked only if the refusal is expected from them.
func (l *addressLab) verdict(t *testing.T, baseline *domain.Document, text string, address domain.Address, expected string) (verdict, reason string) {
	t.Helper()
	saved, err := l.define(t, text)
	if err != nil {
		return byDefine, err.Error()
	}
	h := saved.Hostdevs()
	require.Len(t, h, 1)
	require.NotNil(t, h[0].Address)
	if *h[0].Address != address {
		return byMoving, "to " + h[0].Address.String()
	}
	if a, b := placeOf(baseline, "video"), placeOf(saved, "video"); a != b {
		return byVideo, fmt.Sprintf("from %s to %s", a, b)
	}
	if a, b := pciControllers(t, baseline), pciControllers(t, saved); a != b {
		return byControllers, fmt.Sprintf("from %s to %s", a, b)
	}
	if expected != byStart && expected != byGuest {
		return accepted, ""
	}
	if err := l.conn.Start(within(t, time.Minute), addressGuestName); err != nil {
		return byStart, err.Error()
	}
	defer l.kill(t)
	// The firmware maps all devices in one go: when the chipset's are and this
	// one is not, two seconds later still, it never will be.
	var others time.Time
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		devices := l.infoPCI(t)
		if d, ok := findDevice(devices, "hostdev0"); ok && d.mapped {
			return accepted, ""
		}
		switch {
		case !slices.ContainsFunc(devices, func(d guestDevice) bool { return d.mapped }):
		case others.IsZero():
			others = time.Now()
		case time.Since(others) > 2*time.Second:
			return byGuest, describeDevices(devices)
		}
	}
	t.Fatal("the firmware has not looked at the buses in a minute")
	return "", ""
}

func parsed(t *testing.T, text string) *domain.Document {
	t.Helper()
	doc, err := domain.Parse([]byte(text))
	require.NoError(t, err)
	return doc
}

// pciControllers lists the PCI controllers of a document, with encoding/xml.
func pciControllers(t *testing.T, doc *domain.Document) string {
	var x struct {
		Controllers []struct {
			Type  string `xml:"type,attr"`
			Index string `xml:"index,attr"`
			Model string `xml:"model,attr"`
		} `xml:"devices>controller"`
	}
	require.NoError(t, xml.Unmarshal(doc.Bytes(), &x))
	var all []string
	for _, c := range x.Controllers {
		if c.Type == "pci" {
			all = append(all, c.Index+" "+c.Model)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// placeOf returns where libvirt has put the first device of a kind.
func placeOf(doc *domain.Document, kind string) string {
	for _, u := range doc.Used() {
		if strings.HasPrefix(u.By, kind+" ") {
			return u.Address.String()
		}
	}
	return "nowhere"
}
