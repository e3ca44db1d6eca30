package mdev

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	mdevClassDir   = "sys/class/mdev_bus"
	mdevDevicesDir = "sys/bus/mdev/devices"
	pciDevicesDir  = "sys/bus/pci/devices"
	mdevTypesDir   = "mdev_supported_types" // below a parent
)

// scan is one pass over a host's files, for one goroutine.
type scan struct {
	host         *Host
	fs           *reader
	buf          []byte
	interned     map[string]string
	descriptions map[string]Description
	siblings     map[siblingType]Type
	lists        map[string][]Type // of virtual functions, by text
	problems     []Problem
}

// siblingType names a type of the virtual functions of one GPU.
type siblingType struct{ gpu, id string }

func (h *Host) newScan() *scan {
	return &scan{
		host: h, fs: &reader{fs: h.fs},
		interned:     map[string]string{},
		descriptions: map[string]Description{},
		siblings:     map[siblingType]Type{},
		lists:        map[string][]Type{},
	}
}

// scanBuffers are what scans read into: an operation makes a dozen scans.
var scanBuffers = sync.Pool{New: func() any { return new([4 * readBufferSize]byte) }}

// during lends the scan what it reads into while do reads.
func (s *scan) during(do func()) {
	buf := scanBuffers.Get().(*[4 * readBufferSize]byte)
	defer scanBuffers.Put(buf)
	s.buf = buf[:]
	do()
}

// place is where a parent was found.
type place struct {
	name, path string
	framework  Framework
}

// mdevParents finds the parents that the mdev core knows.
func (s *scan) mdevParents() ([]place, error) {
	names, err := listDir(s.fs, mdevClassDir, s.buf)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	places := make([]place, 0, len(names))
	for _, name := range names {
		where, err := s.follow(mdevClassDir, name)
		if err != nil {
			s.note(&s.problems, path.Join(mdevClassDir, name), err)
			continue
		}
		places = append(places, place{name, where, FrameworkMdev})
	}
	return places, nil
}

// pciParents finds the virtual functions of the vendor-specific framework,
// and NVIDIA's physical functions that have SR-IOV, which may not be enabled.
func (s *scan) pciParents(known map[string]bool) (vfs, pfs []place, err error) {
	names, err := listDir(s.fs, pciDevicesDir, s.buf)
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		link := path.Join(pciDevicesDir, name)
		_, creatableErr := s.fs.Stat(link + "/" + creatableFile)
		if creatableErr != nil && !absent(creatableErr) {
			s.note(&s.problems, link+"/"+creatableFile, creatableErr)
		}
		if creatableErr != nil && !s.isIdlePF(link) {
			continue
		}
		where, err := s.follow(pciDevicesDir, name)
		if err != nil {
			s.note(&s.problems, link, err)
			continue
		}
		if creatableErr == nil {
			vfs = append(vfs, place{name, where, FrameworkVendorVFIO})
		} else {
			pfs = append(pfs, place{name: name, path: where})
		}
	}
	return vfs, pfs, nil
}

// isIdlePF tells whether a PCI function is an NVIDIA GPU that could have
// virtual functions.
func (s *scan) isIdlePF(link string) bool {
	if _, err := s.fs.Stat(link + "/sriov_totalvfs"); err != nil {
		return false
	}
	vendor, errVendor := s.fs.ReadFile(link + "/vendor")
	class, errClass := s.fs.ReadFile(link + "/class")
	return errVendor == nil && errClass == nil && pciID(vendor) == nvidiaVendor && strings.HasPrefix(pciID(class), displayClass)
}

// follow returns where the link dir/name leads, below the root.
func (s *scan) follow(dir, name string) (string, error) {
	target, err := s.fs.Readlink(path.Join(dir, name))
	if errors.Is(err, syscall.EINVAL) { // a plain directory, in trees made by hand
		return path.Join(dir, name), nil
	}
	if err != nil {
		return "", err
	}
	where := path.Join(dir, target)
	if path.IsAbs(target) || strings.HasPrefix(where, "../") {
		return "", fmt.Errorf("link %s leads out of the root: %q", path.Join(dir, name), target)
	}
	return where, nil
}

// parent reads what a parent is, without its types and devices.
func (s *scan) parent(at place) Parent {
	p := Parent{
		Name: at.name, Path: at.path, GPU: at.name, Framework: at.framework,
		Types: []Type{}, Devices: []Device{}, Problems: []Problem{},
	}
	d, err := openDir(s.fs, at.path, s.buf)
	if err != nil {
		s.note(&p.Problems, at.path, err)
		return p
	}
	defer d.close()
	p.Driver = d.base("driver")
	p.PCI = s.pci(d, at.name)
	if p.PCI != nil {
		target, err := d.link("physfn")
		if err == nil {
			p.PF = path.Base(target)
			p.GPU = p.PF
		} else if !absent(err) {
			s.note(&p.Problems, at.path+"/physfn", err)
		}
	}
	if node, err := d.number("numa_node"); err == nil && node >= 0 {
		p.NUMANode = &node
	}
	return p
}

func (s *scan) pci(d *dir, name string) *PCI {
	if _, err := ParsePCIAddress(name); err != nil {
		return nil
	}
	pci := &PCI{Address: name}
	for _, attr := range []struct {
		name string
		to   *string
	}{{"vendor", &pci.Vendor}, {"device", &pci.Device}, {"class", &pci.Class}} {
		if data, err := d.read(attr.name); err == nil {
			*attr.to = s.intern([]byte(pciID(data)))
		}
	}
	return pci
}

// types reads what a parent of the mdev framework offers.
func (s *scan) types(p *Parent) {
	dirPath := p.Path + "/" + mdevTypesDir
	d, err := openDir(s.fs, dirPath, s.buf)
	if err != nil {
		s.note(&p.Problems, dirPath, err)
		return
	}
	defer d.close()
	ids, err := d.names()
	if err != nil {
		s.note(&p.Problems, dirPath, err)
		return
	}
	slices.SortFunc(ids, compareNames)
	p.Types = make([]Type, 0, len(ids))
	for _, id := range ids {
		t := s.mdevType(d, p, id)
		if t.Available, err = d.number(id + "/available_instances"); err != nil {
			s.note(&p.Problems, dirPath+"/"+id+"/available_instances", err)
		}
		p.Types = append(p.Types, t)
	}
}

// mdevType reads what does not change about a type. The virtual functions of
// one GPU have the same types, so they are read from the first of them.
func (s *scan) mdevType(d *dir, p *Parent, id string) Type {
	key := siblingType{p.PF, id}
	if p.PF != "" {
		if t, ok := s.siblings[key]; ok {
			return t
		}
	}
	t := Type{ID: s.intern([]byte(id))}
	whole := true
	if data, err := d.read(id + "/device_api"); err == nil {
		t.DeviceAPI = s.intern(data)
	} else {
		whole = false
		s.note(&p.Problems, d.path+"/"+id+"/device_api", err)
	}
	if data, err := d.read(id + "/name"); err == nil {
		t.Name = s.intern(data)
	} else if !absent(err) {
		whole = false
		s.note(&p.Problems, d.path+"/"+id+"/name", err)
	}
	if t.Name == "" {
		t.Name = t.ID
	}
	if data, err := d.read(id + "/description"); err == nil {
		description, ok := s.descriptions[string(data)]
		if !ok {
			description = parseDescription(string(data))
			s.descriptions[string(data)] = description
		}
		t.Description = description
	} else if !absent(err) {
		whole = false
		s.note(&p.Problems, d.path+"/"+id+"/description", err)
	}
	if p.PF != "" && whole {
		s.siblings[key] = t
	}
	return t
}

// intern returns data as a string, the same one for the same bytes.
func (s *scan) intern(data []byte) string {
	if text, ok := s.interned[string(data)]; ok {
		return text
	}
	text := string(data)
	s.interned[text] = text
	return text
}

// note records what could not be read.
func (s *scan) note(problems *[]Problem, object string, err error) {
	e := explain("read", object, anyFile, err)
	p := Problem{Object: object, Text: e.Error(), Next: e.Next, Err: e}
	if absent(err) {
		p.Text = object + " vanished while it was read"
		p.Next = "look again: its driver may be starting or going away"
	}
	*problems = append(*problems, p)
}

// absent tells whether err says that a file is not there.
func absent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOTDIR)
}
