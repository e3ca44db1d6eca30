package domain

import (
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// generatedAlias begins what libvirt calls a device of the host that has no alias of its own.
const generatedAlias = "hostdev"

// aliases returns the alias by which QEMU will know each <hostdev>, and each interface that
// is one: the user's, in a running domain libvirt's, else hostdev with the number after the
// highest so far. Interfaces come first (qemuAssignDeviceAliases). It is as if the device
// without were not there; nil for none.
func (d *Document) aliases(without *node) map[*node]string {
	_, live := d.root.Attr("id")
	var devices []*node
	for n := range d.devices("interface") {
		if n != without && kindOf(n) == "hostdev" {
			devices = append(devices, n)
		}
	}
	for n := range d.devices("hostdev") {
		if n != without {
			devices = append(devices, n)
		}
	}
	aliases := make(map[*node]string, len(devices))
	next := 0
	for _, n := range devices {
		if name := devicexml.Alias(n); isUserAlias(name) || live && name != "" {
			aliases[n] = name
			if number, ok := aliasNumber(name); ok {
				next = max(next, number+1)
			}
		}
	}
	for _, n := range devices {
		if aliases[n] == "" {
			aliases[n] = generatedAlias + strconv.Itoa(next)
			next++
		}
	}
	return aliases
}

// aliasNumber returns the number in an alias of libvirt's.
func aliasNumber(alias string) (int, bool) {
	digits, ok := strings.CutPrefix(alias, generatedAlias)
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && number >= 0
}

// isUserAlias tells whether libvirt keeps an alias that is not its own.
func isUserAlias(alias string) bool {
	name, ok := strings.CutPrefix(alias, "ua-")
	return ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
