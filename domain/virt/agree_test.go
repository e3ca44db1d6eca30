//go:build cgo

package virt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// pick returns one of them at random.
func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// attributes writes some attributes in some order, some of them under prefixes or under
// several.
func attributes(r *rand.Rand, values map[string][]string) string {
	var all []string
	for name, of := range values {
		for _, prefix := range []string{"", "a:", "b:", "xml:"} {
			if rare := r.IntN(12) == 0; rare == (prefix != "") {
				all = append(all, fmt.Sprintf(" %s%s='%s'", prefix, name, pick(r, of...)))
			}
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return strings.Join(all, "")
}

// mostly returns some of the usual, and now and then one of the others too.
func mostly(r *rand.Rand, usual, others []string) []string {
	if r.IntN(12) > 0 {
		return usual
	}
	return append(slices.Clone(usual), others...)
}

// hostAddress writes an <address> that may name a device of that kind.
func hostAddress(r *rand.Rand, kind string) string {
	number := func(of ...string) []string {
		return mostly(r, append(of, "1", " +3", "0x5", "05", "&#10;+0X2"), []string{"-0", "1 ", "", "9999999999", "0b11", "0"})
	}
	var fields map[string][]string
	if kind == "pci" {
		fields = map[string][]string{"bus": number("65", "+65", "0x41"), "slot": number(), "function": number(), "domain": number("0x10000")}
		for name := range fields {
			if r.IntN(3) == 0 {
				delete(fields, name)
			}
		}
	} else {
		fields = map[string][]string{"uuid": mostly(r, []string{"c0ffee00-0000-4000-8000-000000000001", " C0FFEE00000040008000000000000002 "}, []string{"c0ffee00", ""})}
	}
	fields["type"] = mostly(r, []string{kind}, []string{"pci", "mdev", "usb"})
	name := mostly(r, []string{"address"}, []string{"a:address", "x"})
	return "<" + pick(r, name...) + attributes(r, fields) + "/>"
}

// hostDevice writes an element that may give the VM a device.
func hostDevice(r *rand.Rand) string {
	element, kind := pick(r, "hostdev", "hostdev", "interface"), pick(r, "pci", "pci", "mdev")
	kinds := []string{kind}
	if element == "interface" {
		kinds = []string{"hostdev"}
	}
	var b strings.Builder
	b.WriteString("<" + element + attributes(r, map[string][]string{
		"type":    mostly(r, kinds, []string{"pci", "mdev", "hostdev", "usb"}),
		"mode":    mostly(r, []string{"subsystem"}, []string{"capabilities"}),
		"managed": {"yes", "no"},
		"model":   {"vfio-pci"},
	}) + ">")
	for range 1 + r.IntN(3) - r.IntN(12)/11 {
		name := pick(r, mostly(r, []string{"source"}, []string{"b:source"})...)
		b.WriteString("<" + name + ">")
		for range 1 + r.IntN(2) - r.IntN(8)/7 {
			b.WriteString(hostAddress(r, kind))
		}
		b.WriteString("</" + name + ">")
	}
	for range r.IntN(6) / 3 {
		b.WriteString("<alias" + attributes(r, map[string][]string{"name": {"ua-1", "ua-2"}}) + "/>")
	}
	if r.IntN(3) == 0 {
		b.WriteString("<address" + attributes(r, map[string][]string{"type": {"pci"}, "slot": {"7", "+7", "0x8", "010"}, "bus": {"0", "+0"}}) + "/>")
	}
	return b.String() + "</" + element + ">"
}

// Whatever an author writes, the devices that package domain reads in it are those that
// libvirt reads: the document that libvirt gives back has the same ones, and
// those that managed='yes' would take from their driver are the same.
func TestDomainReadsDevicesAsLibvirtDoes(t *testing.T) {
	seed, rounds := rand.Uint64(), 3000
	for name, to := range map[string]any{"VGPUKIT_SEED": &seed, "VGPUKIT_OPERATIONS": &rounds} {
		if text := os.Getenv(name); text != "" {
			_, err := fmt.Sscan(text, to)
			require.NoError(t, err, name)
		}
	}
	t.Logf("VGPUKIT_SEED=%d VGPUKIT_OPERATIONS=%d", seed, rounds)
	r := rand.New(rand.NewPCG(seed, 0))
	c := openTest(t)
	devices, kept := 0, 0
	for range rounds {
		text := "<domain type='test' xmlns:a='urn:a' xmlns:b='urn:b'><name>vm</name><memory>1024</memory><os><type>hvm</type></os><devices>" +
			hostDevice(r) + pick(r, "", "</devices><devices>") + pick(r, "", hostDevice(r)) + "</devices></domain>"
		if _, err := c.Define(t.Context(), text); err != nil {
			continue // libvirt refuses it, so that nothing can come of it
		}
		back, err := c.XML(t.Context(), "vm")
		require.NoError(t, err)
		ours, err := domain.Parse([]byte(text))
		require.NoError(t, err, text)
		theirs, err := domain.Parse([]byte(back))
		require.NoError(t, err, back)
		require.NoError(t, c.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
		if strings.Contains(back, nobody) {
			continue
		}
		want, got := theirs.Hostdevs(), ours.Hostdevs()
		// libvirt writes interfaces before hostdevs.
		require.ElementsMatch(t, known(want), known(got), "%s\n%s", text, back)
		require.Equal(t, guarded(t, theirs), guarded(t, ours), "%s\n%s", text, back)
		devices += len(want)
		kept += len(guarded(t, ours))
	}
	t.Logf("%d devices, %d guarded", devices, kept)
	require.Greater(t, devices, rounds/10)
	require.Greater(t, kept, rounds/300)
}

// nobody is the host bridge, which libvirt takes for the device of a PCI <source> that
// names none, and which no guest can be given.
const nobody = "domain='0x0000' bus='0x00' slot='0x00' function="

// known is what a document says of devices, but for the model, which libvirt leaves out
// of an interface.
func known(all []domain.Hostdev) []domain.Hostdev {
	out := slices.Clone(all)
	for i := range out {
		out[i].Model = ""
	}
	return out
}

// guarded returns the devices that Check would not let pass if they were vGPUs, as
// libvirt would take them from their driver.
func guarded(t *testing.T, d *domain.Document) map[string]bool {
	found := map[string]bool{}
	for _, h := range known(d.Hostdevs()) {
		if h.UUID != uuid.Nil {
			continue
		}
		named, err := d.WithMetadata(domain.Metadata{VGPUs: []domain.VGPU{{ID: h.VF}}})
		require.NoError(t, err)
		if err := named.Check(); err != nil && strings.Contains(err.Error(), "managed='yes'") {
			found[h.VF] = true
		}
	}
	return found
}

// oddName writes a name of a few parts, which XML Namespaces may forbid.
func oddName(r *rand.Rand) string {
	return pick(r, "", "", ":") + pick(r, "a", "b", "q", "é", "xml") + pick(r, "", ":c", ":", ":1", ":c:d", "::e", ":-", ":c:d:e")
}

func oddElement(r *rand.Rand, depth int) string {
	var b strings.Builder
	name := oddName(r)
	b.WriteString("<" + name)
	for _, attribute := range []string{oddName(r), "k", "a:k", "b:k", "q:k", "xmlns:q", "xmlns"} {
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, " %s='%s'", attribute, pick(r, "u", "", "&e;x", "&#13;&lt;", "urn:a", "http://www.w3.org/2000/xmlns/", domain.MetadataURI))
		}
	}
	if r.IntN(4) == 0 {
		return b.String() + "/>"
	}
	b.WriteString(">")
	for range r.IntN(4) {
		switch r.IntN(6) {
		case 0:
			b.WriteString(pick(r, "t", "&e;", " ", "&amp;", "]]&gt;", "&#x1F600;", "\u0085\u2028"))
		case 1:
			b.WriteString(pick(r, "<!-- &e; -->", "<![CDATA[&e;]]>", "<?a:b &e;?>", "<?:c?>", "<?xml-x?>"))
		default:
			if depth < 3 {
				b.WriteString(oddElement(r, depth+1))
			}
		}
	}
	return b.String() + "</" + name + ">"
}

// Whatever libvirt keeps as metadata and gives back is read, and edits keep every byte
// of it.
func TestDomainReadsMetadataThatLibvirtGivesBack(t *testing.T) {
	r, rounds := rand.New(rand.NewPCG(rand.Uint64(), 0)), 3000
	c := openTest(t)
	h := domain.Hostdev{UUID: uuid.MustParse("c0ffee00-0000-4000-8000-000000000001")}
	taken := 0
	for range rounds {
		text := "<!DOCTYPE d [<!ENTITY e 'v'>]><domain type='test' xmlns:a='urn:a' xmlns:b='urn:a'><name>vm</name><memory>1024</memory>" +
			"<metadata>" + oddElement(r, 0) + "<a:last/></metadata><os><type>hvm</type></os><devices/></domain>"
		if _, err := c.Define(t.Context(), text); err != nil {
			continue
		}
		taken++
		back, err := c.XML(t.Context(), "vm")
		require.NoError(t, err)
		require.NoError(t, c.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
		d, err := domain.Parse([]byte(back))
		require.NoError(t, err, "%s\n%s", text, back)
		_, had, err := d.Metadata()
		require.NoError(t, err, back)
		require.False(t, had, back)
		edited, err := d.Add(h)
		require.NoError(t, err, back)
		edited, err = edited.WithMetadata(domain.Metadata{VGPUs: []domain.VGPU{{ID: h.ID()}}})
		require.NoError(t, err, back)
		edited, err = domain.Parse(edited.Bytes())
		require.NoError(t, err, back)
		m, _, err := edited.Metadata()
		require.NoError(t, err, back)
		require.Len(t, m.VGPUs, 1, edited.String())
		edited, err = edited.WithoutMetadata()
		require.NoError(t, err, back)
		edited, err = edited.Remove(h.ID())
		require.NoError(t, err, back)
		require.Equal(t, back, edited.String())
	}
	t.Logf("%d documents", taken)
	require.Greater(t, taken, rounds/10)
}
