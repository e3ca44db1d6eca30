package domain

import "strings"

// keepOverrides lets what the document passes to QEMU for a device follow it to the number
// that libvirt gives it once another device is gone: hostdev1 becomes hostdev0. What was for
// the other is kept for the number that nobody has then, so that no device that stays gets it.
func (d *Document) keepOverrides(gone *node) (*Document, error) {
	before, after := d.aliases(nil), d.aliases(gone)
	renamed := map[string]string{}
	left := map[string]bool{}
	for n, alias := range after {
		left[alias] = true
		if alias != before[n] {
			renamed[before[n]] = alias
		}
	}
	if len(renamed) == 0 {
		return d, nil
	}
	for _, alias := range before {
		if !left[alias] {
			renamed[before[gone]] = alias
		}
	}
	var splices []splice
	for device := range d.root.In(qemuSpace, "override", "device") {
		alias, _ := device.Attr("alias")
		if to, ok := renamed[alias]; ok {
			written, _ := device.Written("alias")
			splices = append(splices, splice{written.Value, written.End, to})
		}
	}
	for n, alias := range d.settings() {
		if to, ok := renamed[alias]; ok {
			written, _ := n.Written("value")
			text := strings.Replace(d.src[written.Value:written.End], alias, to, 1)
			splices = append(splices, splice{written.Value, written.End, text})
		}
	}
	if len(splices) == 0 {
		return d, nil
	}
	return d.edited(d.spliced(splices))
}
