package domain

import (
	"fmt"
	"iter"
	"strings"
)

// passedComplaints says what libvirt or QEMU refuses of what the document passes to QEMU
// beside the devices: overrides that are not valid, and -set for a device that is given to
// QEMU as JSON, which -set does not see.
func (d *Document) passedComplaints() []error {
	var errs []error
	for device := range d.root.In(qemuSpace, "override", "device") {
		alias, written := device.Attr("alias")
		if !written {
			errs = append(errs, overrideError("a device", "missing 'alias' attribute for qemu:device"))
		}
		for n := range device.In(qemuSpace, "frontend", "property") {
			if _, _, err := overrideProperty(alias, n); err != nil {
				errs = append(errs, err)
			}
		}
	}
	known := map[string]bool{}
	for _, alias := range d.aliases(nil) {
		known[alias] = true
	}
	for n, alias := range d.settings() {
		if _, generated := aliasNumber(alias); !generated && !known[alias] {
			continue
		}
		arg, _ := n.Attr("value")
		property, _, _ := strings.Cut(strings.TrimPrefix(arg, settingPrefix+alias+"."), "=")
		errs = append(errs, &Error{
			Op: "check", Object: "<qemu:commandline>", Meaning: fmt.Sprintf("there is no device \"%s\" defined for -set %s", clip(alias, 40), clip(arg, 80)),
			Cause: "since QEMU 6.2 libvirt gives it its devices as JSON, which -set does not see",
			Next:  fmt.Sprintf("set %s by <qemu:override> for the alias %s", clip(property, 40), clip(alias, 40)), Kind: ErrUnsupported,
		})
	}
	return errs
}

// settingPrefix begins what -set sets of a device.
const settingPrefix = "device."

// settings yields the arguments of -set that are for a device, and its id.
func (d *Document) settings() iter.Seq2[*node, string] {
	return func(yield func(*node, string) bool) {
		set := false
		for n := range d.root.In(qemuSpace, "commandline", "arg") {
			arg, _ := n.Attr("value")
			if name, ok := strings.CutPrefix(arg, settingPrefix); set && ok {
				if alias, _, ok := strings.Cut(name, "."); ok && !yield(n, alias) {
					return
				}
			}
			set = arg == "-set" || arg == "--set"
		}
	}
}
