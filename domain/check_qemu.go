package domain

import (
	"fmt"
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
	for _, alias := range d.aliases() {
		known[alias] = true
	}
	set := false
	for n := range d.root.In(qemuSpace, "commandline", "arg") {
		arg, _ := n.Attr("value")
		if name, ok := strings.CutPrefix(arg, "device."); set && ok {
			alias, property, _ := strings.Cut(name, ".")
			if _, generated := aliasNumber(alias); generated || known[alias] {
				errs = append(errs, &Error{
					Op: "check", Object: "<qemu:commandline>", Meaning: fmt.Sprintf("there is no device \"%s\" defined for -set %s", clip(alias, 40), clip(arg, 80)),
					Cause: "since QEMU 6.2 libvirt gives it its devices as JSON, which -set does not see",
					Next:  fmt.Sprintf("set %s by <qemu:override> for the alias %s", clip(beforeEqual(property), 40), clip(alias, 40)), Kind: ErrUnsupported,
				})
			}
		}
		set = arg == "-set" || arg == "--set"
	}
	return errs
}

func beforeEqual(s string) string {
	name, _, _ := strings.Cut(s, "=")
	return name
}
