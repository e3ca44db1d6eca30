package domain

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// qemuSpace is the namespace of what libvirt passes to QEMU unseen.
const qemuSpace = "http://libvirt.org/schemas/domain/qemu/1.0"

// override applies <qemu:override> as
// qemuBuildDeviceCommandlineHandleOverrides does.
func (d *Document) override(p properties, alias string) (properties, error) {
	for n := range d.overrides(alias) {
		name, value, err := overrideProperty(alias, n)
		if err != nil {
			return nil, err
		}
		p = slices.DeleteFunc(p, func(q property) bool { return q.name == name })
		if value != nil {
			p = append(p, property{name, value})
		}
	}
	return p, nil
}

// overrideProperty reads one property of an override; its value is nil if it is to be removed.
func overrideProperty(alias string, n *node) (name string, value any, err error) {
	name, _ = n.Attr("name")
	kind, _ := n.Attr("type")
	text, written := n.Attr("value")
	value, err = overrideValue(kind, text)
	if err != nil || name == "" || name == "id" || written == (kind == "remove") {
		return "", nil, overrideError(alias, fmt.Sprintf("property %q of type %q has no valid value or name", clip(name, 40), clip(kind, 20)))
	}
	return name, value, nil
}

func overrideError(alias, meaning string) error {
	return &Error{
		Op: "read", Object: "<qemu:override> of " + alias, Meaning: meaning,
		Next: "correct it; the types are string, signed, unsigned, bool and remove", Kind: ErrInvalid,
	}
}

// overrides yields the <qemu:property> elements for a device's front end.
func (d *Document) overrides(alias string) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for device := range d.root.In(qemuSpace, "override", "device") {
			if name, _ := device.Attr("alias"); name != alias {
				continue
			}
			for n := range device.In(qemuSpace, "frontend", "property") {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// overrideValue returns nil for a property that is to be removed.
func overrideValue(kind, text string) (any, error) {
	switch kind {
	case "string":
		return text, nil
	case "signed":
		return strconv.ParseInt(text, 10, 64)
	case "unsigned":
		return strconv.ParseUint(text, 10, 64)
	case "bool":
		if text != "true" && text != "false" {
			return nil, ErrInvalid
		}
		return text == "true", nil
	case "remove":
		return nil, nil
	}
	return nil, ErrInvalid
}
