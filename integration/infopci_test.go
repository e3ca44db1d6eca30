//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// guestDevice is a device as QEMU's monitor shows it.
type guestDevice struct {
	bus            int
	slot, function uint8
	id             string
	secondary      int  // a bridge's bus, or -1
	mapped         bool // the firmware has given it memory or ports
	text           string
}

var (
	deviceLine    = regexp.MustCompile(`^ +Bus +(\d+), device +(\d+), function (\d+):`)
	secondaryLine = regexp.MustCompile(`secondary bus (\d+)\.`)
	idLine        = regexp.MustCompile(`id "([^"]*)"`)
	barLine       = regexp.MustCompile(`BAR\d+: .* at (0x[0-9a-f]+)`)
)

func (l *addressLab) infoPCI(t *testing.T) []guestDevice {
	t.Helper()
	out, err := l.conn.Monitor(within(t, 30*time.Second), addressGuestName, "info pci")
	require.NoError(t, err)
	return parseInfoPCI(out)
}

func parseInfoPCI(out string) []guestDevice {
	number := func(s string) int {
		v, _ := strconv.Atoi(s) // only digits come here
		return v
	}
	var all []guestDevice
	for line := range strings.Lines(out) {
		if m := deviceLine.FindStringSubmatch(line); m != nil {
			all = append(all, guestDevice{bus: number(m[1]), slot: uint8(number(m[2])), function: uint8(number(m[3])), secondary: -1})
		}
		if len(all) == 0 {
			continue
		}
		d := &all[len(all)-1]
		d.text += line
		if m := secondaryLine.FindStringSubmatch(line); m != nil {
			d.secondary = number(m[1])
		}
		if m := idLine.FindStringSubmatch(line); m != nil {
			d.id = m[1]
		}
		if m := barLine.FindStringSubmatch(line); m != nil {
			at, err := strconv.ParseUint(m[1], 0, 64)
			d.mapped = d.mapped || err == nil && at != 0 && at != 1<<64-1 && at != 1<<32-1
		}
	}
	return all
}

func findDevice(devices []guestDevice, id string) (guestDevice, bool) {
	i := slices.IndexFunc(devices, func(d guestDevice) bool { return d.id == id })
	if i < 0 {
		return guestDevice{}, false
	}
	return devices[i], true
}

// secondaryBus returns the number that the guest gave to a controller's bus.
func secondaryBus(devices []guestDevice, index int) (int, bool) {
	if index == 0 {
		return 0, true
	}
	d, ok := findDevice(devices, fmt.Sprintf("pci.%d", index))
	return d.secondary, ok && d.secondary >= 0
}

func describeDevices(devices []guestDevice) string {
	var b strings.Builder
	for _, d := range devices {
		b.WriteString(d.text)
	}
	return b.String()
}
