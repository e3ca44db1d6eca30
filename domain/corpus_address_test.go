package domain

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// corpusDocuments calls f for each document below $VGPUKIT_CORPUS that parses.
func corpusDocuments(t *testing.T, f func(name string, text []byte, doc *Document)) {
	dir := os.Getenv("VGPUKIT_CORPUS")
	if dir == "" {
		t.Skip("VGPUKIT_CORPUS names no folder of domain documents")
	}
	count := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".xml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		doc, err := Parse(text)
		if err != nil {
			return nil // what is not a document is other tests' business
		}
		count++
		f(filepath.Base(path), text, doc)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count == 0 {
		t.Fatalf("no document below %s", dir)
	}
	t.Logf("%d documents", count)
}

// writtenByDecoder reads the addresses of a document's devices with
// encoding/xml, without any code of ours.
func writtenByDecoder(t *testing.T, text []byte) []string {
	dec := xml.NewDecoder(strings.NewReader(string(text)))
	var path []string
	var found []string
	seen := false // the device's first <address>
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			path = append(path, tok.Name.Local)
			if len(path) == 3 {
				seen = false
			}
			if len(path) != 4 || path[1] != "devices" || path[3] != "address" || tok.Name.Space != "" || seen {
				continue
			}
			seen = true
			part := map[string]uint64{}
			pci := false
			for _, a := range tok.Attr {
				if a.Name.Local == "type" {
					pci = a.Value == "pci"
				} else if v, err := strconv.ParseUint(a.Value, 0, 32); err == nil {
					part[a.Name.Local] = v
				}
			}
			if !pci || part["domain"]+part["bus"]+part["slot"] == 0 ||
				part["bus"] > 0xff || part["slot"] > 0x1f || part["function"] > 7 {
				continue // no address, for libvirt
			}
			found = append(found, Address{
				Domain: uint32(part["domain"]), Bus: uint8(part["bus"]),
				Slot: uint8(part["slot"]), Function: uint8(part["function"]),
			}.String())
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

// Used are exactly the addresses that are written, and the implicit ones.
// What Free offers is not used, passes CheckAddress and is always the same.
func TestCorpusUsedAndFree(t *testing.T) {
	free := 0
	corpusDocuments(t, func(name string, text []byte, doc *Document) {
		var written []string
		taken := map[Address]bool{}
		for _, u := range doc.Used() {
			taken[u.Address] = true
			if !u.Implicit {
				written = append(written, u.Address.String())
			}
		}
		want := writtenByDecoder(t, text)
		slices.Sort(want)
		slices.Sort(written)
		want, written = slices.Compact(want), slices.Compact(written)
		if !slices.Equal(want, written) {
			t.Errorf("%s: used %v, written are %v", name, written, want)
		}
		for _, req := range []AddressRequest{{}, {Hotplug: true}} {
			for n := 1; n <= 64; n++ {
				got, err := doc.Free(n, req)
				if err != nil {
					if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnsupported) {
						t.Errorf("%s: %v", name, err)
					}
					break
				}
				a := got[n-1]
				free++
				if taken[a] {
					t.Errorf("%s: %s offered and in use", name, a)
				}
				if err := doc.CheckAddress(a); err != nil {
					t.Errorf("%s: %s offered: %v", name, a, err)
				}
			}
		}
	})
	t.Logf("%d addresses offered", free)
}

// Where libvirt itself has put a device, a device can be put: nothing that it
// assigned is impossible for us once the device is taken out.
func TestCorpusAssignedArePossible(t *testing.T) {
	checked := 0
	corpusDocuments(t, func(name string, text []byte, doc *Document) {
		if !strings.Contains(name, "-latest.") {
			return // not libvirt's answer
		}
		for _, dev := range doc.root.Child("devices").Children {
			a, ok := writtenAddress(dev)
			if !ok || dev.Local == "controller" || dev.Local == "console" {
				continue // controllers plug where devices cannot; consoles repeat serials
			}
			checked++
			err := doc.checkAddressOf(dev, a)
			if err != nil {
				t.Errorf("%s: %s: %v", name, describe(dev), err)
			}
		}
	})
	t.Logf("%d addresses", checked)
}
