package domain

import (
	"cmp"
	"slices"
	"strings"
)

// Marks tell a later cut how to give back the bytes from before. They are
// white space behind the parent's start tag, where insert otherwise begins
// with a line end or with nothing: so nothing that was there before insert can
// be taken for one.
const (
	markOpened = " \t"    // the parent was <parent/>
	markFilled = " \t \t" // the parent was <parent></parent>
	markMade   = " \t\t"  // there was no parent
)

// deviceOrder is the order in which libvirt writes <devices>.
var deviceOrder = []string{
	"emulator", "disk", "controller", "lease", "filesystem", "interface", "smartcard", "serial", "parallel",
	"console", "channel", "input", "tpm", "graphics", "audio", "sound", "video", "hostdev", "redirdev",
	"redirfilter", "hub", "watchdog", "memballoon", "rng", "nvram", "panic", "shmem", "memory", "iommu", "vsock",
	"crypto", "pstore",
}

// insertDevice puts a device behind the last one of its kind, else where
// libvirt would write it. text is as for insert.
func (d *Document) insertDevice(kind, text string) (*Document, error) {
	var after *node
	for n := range d.devices(kind) {
		after = n
	}
	if after != nil {
		return d.edited(d.insert(after.Parent, after, text))
	}
	parent := d.root.Child("devices")
	if parent == nil {
		return d.edited(d.insert(d.root, d.lastBeforeDevices(), wrap("devices", text)))
	}
	before := deviceOrder[:slices.Index(deviceOrder, kind)]
	return d.edited(d.insert(parent, lastOf(parent, before), text))
}

// lastBeforeDevices returns the child of the root behind which libvirt would
// write <devices>.
func (d *Document) lastBeforeDevices() *node {
	for _, n := range slices.Backward(d.root.Children) {
		switch n.Local {
		case "seclabel", "keywrap", "launchSecurity":
		default:
			if n.Space == "" {
				return n
			}
		}
	}
	return nil
}

// lastOf returns the last child that has one of the names, or nil.
func lastOf(parent *node, names []string) *node {
	for _, n := range slices.Backward(parent.Children) {
		if n.Space == "" && slices.Contains(names, n.Local) {
			return n
		}
	}
	return nil
}

// wrap puts an element into a parent that insert will make.
func wrap(parent, text string) string {
	return "<" + parent + ">" + markMade + "\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n</" + parent + ">"
}

// edited is the document after an edit. One that libvirt gave back although its
// protocol is too narrow for it may get shorter.
func (d *Document) edited(src string) (*Document, error) {
	if err := checkSize(len(src), max(maxSize, len(d.src)), "libvirt's protocol carries no longer string: make the document shorter"); err != nil {
		return nil, err
	}
	return parse(src)
}

// A splice is other text in the place of some of the document's.
type splice struct {
	start, end int
	text       string
}

// spliced returns the document's text with all of them, which must not overlap.
func (d *Document) spliced(changes []splice) string {
	// From the end, so that offsets hold; what is put where something ends comes after it is gone.
	slices.SortFunc(changes, func(a, b splice) int { return cmp.Or(b.start-a.start, b.end-a.end) })
	src := d.src
	for _, c := range changes {
		src = src[:c.start] + c.text + src[c.end:]
	}
	return src
}

// insert returns the document with text put into parent, behind its child
// after, or as the first if that is nil. text is an element with one line for
// each tag, indented by two blanks a level, in double quotes; it is made to
// look like what is around it.
//
// What is inserted begins directly behind a '>' with all the white space that
// precedes the element. That is why cut can undo it.
func (d *Document) insert(parent, after *node, text string) string {
	if after != nil {
		at := d.behindComments(after.End)
		return d.src[:at] + d.layout(after).fit(text) + d.src[at:]
	}
	outer := d.layout(parent)
	inner := outer
	inner.indent += inner.unit
	switch {
	case parent.Empty():
		return d.src[:parent.StartEnd-len("/>")] + ">" + markOpened + inner.fit(text) + outer.lead() +
			"</" + parent.Name() + ">" + d.src[parent.End:]
	case parent.StartEnd == parent.EndStart:
		return d.src[:parent.StartEnd] + markFilled + inner.fit(text) + outer.lead() + d.src[parent.EndStart:]
	case len(parent.Children) > 0:
		inner = d.layout(parent.Children[0])
	}
	at := d.behindComments(parent.StartEnd)
	return d.src[:at] + inner.fit(text) + d.src[at:]
}

// cut returns the document without the element and the white space before it,
// and undoes what insert did to its parent when it is the last to leave. So it
// gives back the bytes from before insert, and if several elements were
// inserted it does so in whatever order they are cut.
func (d *Document) cut(n *node) string {
	p, before := n.Parent, n.Start
	for before > p.StartEnd && strings.IndexByte(" \t\r\n", d.src[before-1]) >= 0 {
		before--
	}
	mark := ""
	if before == p.StartEnd {
		mark = leadingMark(d.src[before:n.Start])
	}
	if mark == "" {
		return d.src[:before] + d.src[n.End:]
	}
	if rest := strings.TrimLeft(d.src[n.End:p.EndStart], " \t\r\n"); rest != "" {
		return d.src[:n.Start] + d.src[p.EndStart-len(rest):] // another will need the mark
	}
	switch mark {
	case markOpened:
		return d.src[:p.StartEnd-len(">")] + "/>" + d.src[p.End:]
	case markFilled:
		return d.src[:p.StartEnd] + d.src[p.EndStart:]
	default:
		return d.cut(p)
	}
}

// leadingMark returns the mark with which the white space begins, if any.
func leadingMark(space string) string {
	blanks := len(space)
	if i := strings.IndexAny(space, "\r\n"); i >= 0 {
		blanks = i
	}
	switch mark := space[:blanks]; mark {
	case markOpened, markFilled, markMade:
		return mark
	}
	return ""
}

// behindComments skips comments on the same line, which belong to what is
// before them.
func (d *Document) behindComments(at int) int {
	for {
		rest := strings.TrimLeft(d.src[at:], " \t")
		if !strings.HasPrefix(rest, "<!--") {
			return at
		}
		end := len("<!--") + strings.Index(rest[len("<!--"):], "-->") + len("-->")
		if strings.ContainsAny(rest[:end], "\r\n") {
			return at
		}
		at = len(d.src) - len(rest) + end
	}
}

// layout is how an element is set: on a line of its own, or inline.
type layout struct {
	inline bool
	eol    string // "\n", "\r\n", or "\r"
	indent string // of its line
	unit   string // by how much its children are indented
	quote  byte
}

// layout finds out how an element is set: on a line of its own, or on that of
// the elements before it.
func (d *Document) layout(n *node) layout {
	l := layout{eol: "\n", unit: "  ", quote: d.quote()}
	if n.Parent == nil {
		if i := strings.IndexAny(d.src, "\r\n"); i >= 0 {
			l.eol = lineEnd(d.src[i:])
		}
		return l
	}
	siblings, end := n.Parent.Children, n.Start
	for i := slices.Index(siblings, n); i >= 0; i-- {
		start := n.Parent.StartEnd
		if i > 0 {
			start = siblings[i-1].End
		}
		gap := d.src[start:end]
		if at := strings.LastIndexAny(gap, "\r\n"); at >= 0 {
			if at > 0 && gap[at-1] == '\r' {
				at--
			}
			l.eol = lineEnd(gap[at:])
			line := gap[at+len(l.eol):]
			l.indent = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
			if unit, ok := strings.CutPrefix(l.indent, d.layout(n.Parent).indent); ok && unit != "" {
				l.unit = unit
			}
			return l
		}
		if i > 0 {
			end = siblings[i-1].Start
		}
	}
	l.inline = true
	return l
}

// lineEnd returns the line end with which s begins.
func lineEnd(s string) string {
	if strings.HasPrefix(s, "\r\n") {
		return "\r\n"
	}
	return s[:1]
}

// quote returns the character in which the document's first attribute stands.
func (d *Document) quote() byte {
	tag := d.src[d.root.Start:d.root.StartEnd]
	if double := strings.IndexByte(tag, '"'); double >= 0 && !strings.Contains(tag[:double], "'") {
		return '"'
	}
	return '\''
}

// lead is the white space before an element of this layout.
func (l layout) lead() string {
	if l.inline {
		return ""
	}
	return l.eol + l.indent
}

// fit returns text in this layout, with the white space before it.
func (l layout) fit(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		content := strings.TrimLeft(line, " ")
		b.WriteString(l.lead())
		if !l.inline {
			for range (len(line) - len(content)) / 2 {
				b.WriteString(l.unit)
			}
		}
		content = strings.TrimSuffix(content, "\n")
		if open, name, ok := strings.Cut(content, "></"); ok && strings.HasPrefix(open, "<"+strings.TrimSuffix(name, ">")) {
			content = open + "/>" // libvirtxml writes an empty element as two tags
		}
		if l.quote == '\'' && !strings.Contains(content, "'") {
			content = strings.ReplaceAll(content, `"`, "'")
		}
		b.WriteString(content)
	}
	return b.String()
}
