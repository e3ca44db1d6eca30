package mdev

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"
)

// DeviceState tells whether a device can be used.
type DeviceState string

// The states of a device.
const (
	// StateReady: it has its type, its driver and its VFIO node.
	StateReady DeviceState = "ready"
	// StateHalfMade: it is being made or removed at this moment, or has no
	// driver.
	StateHalfMade DeviceState = "half-made"
	// StateGhost: someone's write to its "remove" is blocked by the VM that
	// has it open, or while its driver cleans up. It has left the bus and
	// cannot be removed again, but holds its instance until that has ended.
	StateGhost DeviceState = "ghost"
)

// Device is one vGPU: an mdev, or a virtual function that has a vGPU type.
type Device struct {
	ID         string    `json:"id"` // the UUID in lower case, or the VF's PCI address
	Framework  Framework `json:"framework"`
	Parent     string    `json:"parent"`
	GPU        string    `json:"gpu"`
	Type       string    `json:"type"` // the type's id; "" when it cannot be known
	TypeName   string    `json:"type_name"`
	DeviceAPI  string    `json:"device_api"`
	IOMMUGroup string    `json:"iommu_group,omitempty"` // "12"
	VFIONode   string    `json:"vfio_node,omitempty"`   // "/dev/vfio/12"
	VFIOCdev   string    `json:"vfio_cdev,omitempty"`   // "/dev/vfio/devices/vfio3", where the kernel has it
	Driver     string    `json:"driver,omitempty"`
	// GPUInstance is the id of the GPU instance that it is in, of a MIG-backed vGPU. Nil: it
	// is in none, or the driver does not say.
	GPUInstance *int        `json:"gpu_instance,omitempty"`
	Path        string      `json:"path"` // below the root: "sys/devices/…"
	State       DeviceState `json:"state"`
	Holder      *Holder     `json:"holder,omitempty"` // nil: nobody, or not known without root
	Problems    []Problem   `json:"problems"`
}

// isOf tells whether a device is of a type, by id or name.
func (d *Device) isOf(typ string) bool {
	return SameType(d.Type, typ) || typ != "" && d.TypeName == typ
}

// Holder is the process that has a device open. A field that is not known is
// zero.
type Holder struct {
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"` // "qemu-system-x86"
	VM      string `json:"vm,omitempty"`      // the libvirt domain's name
}

// Param is one attribute that is written to a device after it was created.
type Param struct {
	Name  string `json:"name"` // "vgpu_params", "placement_id", "assign_adapter"…
	Value string `json:"value"`
}

// busDevices returns where each mdev on the bus is, by UUID.
func (s *scan) busDevices() (map[string]string, error) {
	names, err := listDir(s.fs, mdevDevicesDir, s.buf)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	devices := make(map[string]string, len(names))
	for _, name := range names {
		if !isUUID(name) {
			continue
		}
		where, err := s.follow(mdevDevicesDir, name)
		if err == nil {
			devices[name] = where
		} else if !absent(err) {
			s.note(&s.problems, path.Join(mdevDevicesDir, name), err)
		}
	}
	return devices, nil
}

// mdevs finds a parent's devices: those on the bus, and those that have left
// it and still have their directory.
func (s *scan) mdevs(p *Parent, bus map[string]string) {
	names, err := listDir(s.fs, p.Path, s.buf)
	if err != nil {
		s.note(&p.Problems, p.Path, err)
		return
	}
	for _, name := range names {
		if !isUUID(name) {
			continue
		}
		_, onBus := bus[name]
		if dev, ok := s.mdev(p, name, onBus); ok {
			p.Devices = append(p.Devices, dev)
		}
	}
}

// mdev reads one device of a parent; false when it has gone.
func (s *scan) mdev(p *Parent, id string, onBus bool) (Device, bool) {
	dev := Device{
		ID: id, Framework: FrameworkMdev, Parent: p.Name, GPU: p.GPU,
		Path: p.Path + "/" + id, State: StateReady, Problems: []Problem{},
	}
	d, err := openDir(s.fs, dev.Path, s.buf)
	if err != nil {
		if !absent(err) {
			s.note(&p.Problems, dev.Path, err)
		}
		return dev, false
	}
	defer d.close()
	dev.Driver = d.base("driver")
	if typePath, err := d.link("mdev_type"); err == nil {
		dev.Type = path.Base(typePath)
		s.nameType(p, &dev)
	}
	s.vfio(d, &dev)
	switch {
	case !onBus:
		dev.State = StateGhost
		dev.Problems = append(dev.Problems, Problem{
			Object: id,
			Text:   "it has left the mdev bus and still holds its instance: someone's removal of it waits until its VM lets go or its driver has cleaned up",
			Next:   "stop the VM that has it open, if one has; the kernel then finishes the removal by itself",
		})
	case dev.Type == "" || dev.IOMMUGroup == "" && dev.VFIOCdev == "":
		dev.State = StateHalfMade
		dev.Problems = append(dev.Problems, halfMade(&dev))
	}
	return dev, true
}

func halfMade(dev *Device) Problem {
	p := Problem{Object: dev.ID, Text: "it is half-made: it has no type yet", Next: "look again: it is being made or removed"}
	if dev.Type != "" {
		p.Text = "it is half-made: it has no VFIO group"
		if dev.Driver == "" {
			p.Text += ", and no driver"
			p.Next = "load its VFIO driver (vfio_mdev on older kernels), or remove it"
		}
	}
	return p
}

// nameType fills in the type's name and device API, from the parent's types
// if they were read.
func (s *scan) nameType(p *Parent, dev *Device) {
	dev.TypeName = dev.Type
	for i := range p.Types {
		if p.Types[i].ID == dev.Type {
			dev.TypeName, dev.DeviceAPI = p.Types[i].Name, p.Types[i].DeviceAPI
			return
		}
	}
	typeDir := path.Join(p.Path, mdevTypesDir, dev.Type)
	if data, err := s.fs.ReadFile(typeDir + "/name"); err == nil {
		dev.TypeName = strings.TrimSpace(string(data))
	}
	if data, err := s.fs.ReadFile(typeDir + "/device_api"); err == nil {
		dev.DeviceAPI = strings.TrimSpace(string(data))
	}
}

// vfio reads through which nodes a device is opened.
func (s *scan) vfio(d *dir, dev *Device) {
	if names, err := listDir(s.fs, dev.Path+"/vfio-dev", s.buf); err == nil {
		for _, name := range names {
			if _, err := s.fs.Stat("dev/vfio/devices/" + name); err == nil {
				dev.VFIOCdev = "/dev/vfio/devices/" + name
			}
		}
	}
	dev.IOMMUGroup = d.base("iommu_group")
	if dev.IOMMUGroup == "" {
		return
	}
	_, err := s.fs.Stat("dev/vfio/" + dev.IOMMUGroup)
	switch {
	case err == nil:
		dev.VFIONode = "/dev/vfio/" + dev.IOMMUGroup
	case dev.VFIOCdev == "" || !absent(err): // else the kernel has no group nodes
		dev.Problems = append(dev.Problems, Problem{
			Object: dev.ID, Text: "its VFIO group " + dev.IOMMUGroup + " has no node in /dev/vfio",
			Next: "wait for udev; in a container, mount the host's /dev/vfio", Err: err,
		})
	}
}

// Device returns one device by its UUID, in any spelling, or by the PCI
// address of its virtual function, and who has it open.
//
// It fails with [ErrInvalid] when id is neither, and with [ErrNotFound] when
// there is no such device; a virtual function without a vGPU type is none.
func (h *Host) Device(ctx context.Context, id string) (Device, error) {
	return h.device(ctx, "device", id, true)
}

// Find is [Host.Device] without the Holder, whom to find takes a walk through
// all of /proc.
func (h *Host) Find(ctx context.Context, id string) (Device, error) {
	return h.device(ctx, "find", id, false)
}

func (h *Host) device(ctx context.Context, op, id string, withHolder bool) (Device, error) {
	id, err := parseID(op, id)
	if err != nil {
		return Device{}, err
	}
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	return look(ctx, h, op, id, func(s *scan) (Device, error) {
		dev, err := s.find(op, id)
		if err == nil && dev.State == StateGhost {
			dev, err = s.lookAgain(ctx, op, dev)
		}
		if err != nil {
			return Device{}, err
		}
		if withHolder {
			dev.Holder = s.holderOf(ctx, &dev)
			err = ended(ctx, op, id) // who was not found then may be there
		}
		return dev, err
	})
}

// find reads one device; it may be in the making, or gone from the bus.
func (h *Host) find(ctx context.Context, op, id string) (Device, error) {
	return look(ctx, h, op, id, func(s *scan) (Device, error) { return s.find(op, id) })
}

// lookAgain gives a device that is not on the bus the moment that creating or
// removing one takes, before it is called a ghost.
func (s *scan) lookAgain(ctx context.Context, op string, dev Device) (Device, error) {
	var err error
	wait := newPatience(50 * time.Millisecond)
	for err == nil && dev.State == StateGhost && wait.sleep(ctx) {
		dev, err = s.find(op, dev.ID)
	}
	return dev, err
}

// find reads one device.
func (s *scan) find(op, id string) (Device, error) {
	if !isUUID(id) {
		return s.findVF(op, id)
	}
	dev, err := s.findOnBus(op, id)
	if !errors.Is(err, ErrNotFound) {
		return dev, err
	}
	where, err := s.findGhost(op, id)
	if err != nil {
		return Device{}, err
	}
	return s.findAt(op, id, where, false)
}

// findOnBus reads an mdev that the bus has.
func (s *scan) findOnBus(op, id string) (Device, error) {
	where, err := s.follow(mdevDevicesDir, id)
	switch {
	case absent(err):
		return Device{}, notFound(op, id)
	case err != nil:
		return Device{}, explain(op, id, anyFile, err)
	}
	return s.findAt(op, id, where, true)
}

// findAt reads an mdev at its place below its parent.
func (s *scan) findAt(op, id, where string, onBus bool) (Device, error) {
	p := s.parent(place{path.Base(path.Dir(where)), path.Dir(where), FrameworkMdev})
	known := len(p.Problems)
	dev, ok := s.mdev(&p, id, onBus)
	if ok {
		return dev, nil
	}
	// What is there and cannot be read must not be taken for gone.
	for _, problem := range p.Problems[known:] {
		if problem.Err != nil && !absent(problem.Err) {
			return Device{}, explain(op, id, anyFile, problem.Err)
		}
	}
	return Device{}, notFound(op, id)
}

// findGhost looks under each parent for a device that has left the bus.
func (s *scan) findGhost(op, id string) (string, error) {
	parents, err := s.mdevParents()
	if err != nil {
		return "", explain(op, id, anyFile, err)
	}
	for _, p := range parents {
		_, err := s.fs.Stat(p.path + "/" + id)
		if err == nil {
			return p.path + "/" + id, nil
		}
		if !absent(err) {
			return "", explain(op, id, anyFile, err)
		}
	}
	return "", notFound(op, id)
}

func (s *scan) findVF(op, id string) (Device, error) {
	where, err := s.follow(pciDevicesDir, id)
	if absent(err) {
		return Device{}, notFound(op, id)
	}
	if err != nil {
		return Device{}, explain(op, id, anyFile, err)
	}
	p := s.parent(place{id, where, FrameworkVendorVFIO})
	s.vf(&p)
	if len(p.Devices) == 1 {
		s.learnTypeName(&p, &p.Devices[0])
		return p.Devices[0], nil
	}
	for i := range p.Problems {
		if err := p.Problems[i].Err; err != nil && !absent(err) {
			return Device{}, err
		}
	}
	return Device{}, notFound(op, id)
}

func notFound(op, id string) *Error {
	return &Error{
		Op: op, Object: id, Meaning: "there is no such device",
		Cause: "it was removed, or the host was restarted: vGPUs do not outlive that", Next: "look at the inventory, or create it again", Kind: ErrNotFound,
	}
}
