package mdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// Requests and flags of Linux include/uapi/linux/vfio.h.
const (
	vfioBase = ';'<<8 | 100

	vfioGetAPIVersion   = vfioBase + 0
	vfioCheckExtension  = vfioBase + 1
	vfioSetIOMMU        = vfioBase + 2
	vfioGroupStatus     = vfioBase + 3
	vfioGroupContainer  = vfioBase + 4
	vfioGroupDeviceFD   = vfioBase + 6
	vfioDeviceInfo      = vfioBase + 7
	vfioDeviceRegion    = vfioBase + 8
	vfioDeviceInterrupt = vfioBase + 9
	vfioDevicePlane     = vfioBase + 14
	vfioDeviceFeature   = vfioBase + 17
	vfioDeviceBind      = vfioBase + 18

	vfioAPIVersion     = 0
	vfioType1IOMMU     = 1
	vfioType1v2IOMMU   = 3
	vfioNoIOMMU        = 8
	vfioGroupViable    = 1
	featureGet         = 1 << 16
	featureProbe       = 1 << 18
	featureMigration   = 1
	featureDMALogging  = 6
	planeProbe         = 1
	planeDMABuf        = 2
	planeRegion        = 4
	capabilitySparse   = 1
	regionHasCaps      = 8
	maxCapabilityBytes = 64 << 10
	maxIndexes         = 1024
)

// errNotViable: the group has a device that another driver than VFIO's has.
var errNotViable = errors.New("the VFIO group is not viable")

// Probe makes osFS a [ProbeFS]: it opens a device through its group and the type 1
// IOMMU, and asks it.
func (f *osFS) Probe(group, id string) (Probe, error) {
	groupFD, err := f.open("dev/vfio/"+group, unix.O_RDWR)
	if err != nil {
		return Probe{}, err
	}
	defer func() { _ = unix.Close(groupFD) }()
	container, err := f.open("dev/vfio/vfio", unix.O_RDWR)
	if err != nil {
		return Probe{}, err
	}
	defer func() { _ = unix.Close(container) }()
	device, err := openDevice(container, groupFD, id)
	if err != nil {
		return Probe{}, err
	}
	defer func() { _ = unix.Close(device) }()
	return ask(device, id)
}

func openDevice(container, group int, id string) (int, error) {
	if version, err := ioctl(container, vfioGetAPIVersion, 0); err != nil || version != vfioAPIVersion {
		return -1, fault.Join(fmt.Errorf("VFIO has interface version %d", version), err)
	}
	status := newBlock(8)
	if _, err := status.ioctl(group, vfioGroupStatus); err != nil {
		return -1, failed("get status of", id, err)
	}
	if status.uint32(4)&vfioGroupViable == 0 {
		return -1, errNotViable
	}
	fd := int32(container)
	if _, err := ioctlPointer(group, vfioGroupContainer, unsafe.Pointer(&fd)); err != nil {
		return -1, failed("set container of", id, err)
	}
	iommu := uintptr(vfioType1v2IOMMU)
	for _, kind := range []uintptr{vfioType1v2IOMMU, vfioType1IOMMU, vfioNoIOMMU} {
		if has, err := ioctl(container, vfioCheckExtension, kind); err == nil && has != 0 {
			iommu = kind
			break
		}
	}
	if _, err := ioctl(container, vfioSetIOMMU, iommu); err != nil {
		return -1, failed("set IOMMU of", id, err)
	}
	name, err := unix.BytePtrFromString(id)
	if err != nil {
		return -1, err
	}
	device, err := ioctlPointer(group, vfioGroupDeviceFD, unsafe.Pointer(name))
	if err != nil {
		return -1, failed("open", id, err)
	}
	return device, nil
}

func ask(device int, id string) (Probe, error) {
	p := Probe{Device: id, Regions: []Region{}, Interrupts: []Interrupt{}}
	info := newBlock(24)
	if _, err := info.ioctl(device, vfioDeviceInfo); err != nil {
		return p, failed("get info of", id, err)
	}
	flags := info.uint32(4)
	p.Reset = flags&1 != 0
	for bit, kind := range map[uint32]string{1 << 1: "pci", 1 << 2: "platform", 1 << 4: "ccw", 1 << 5: "ap"} {
		if flags&bit != 0 {
			p.Kind = kind
		}
	}
	for index := range min(info.uint32(8), maxIndexes) {
		region, err := askRegion(device, p.Kind, index)
		if err != nil {
			return p, failed("get region of", id, err)
		}
		if region.Size > 0 {
			p.Regions = append(p.Regions, region)
		}
	}
	for index := range min(info.uint32(12), maxIndexes) {
		irq := newBlock(16)
		irq.putUint32(8, index)
		if _, err := irq.ioctl(device, vfioDeviceInterrupt); errors.Is(err, syscall.EINVAL) {
			continue // not implemented
		} else if err != nil {
			return p, failed("get interrupt of", id, err)
		}
		if count := irq.uint32(12); count > 0 {
			p.Interrupts = append(p.Interrupts, Interrupt{
				Index: int(index), Name: nameOf(pciInterrupts, p.Kind, int(index), "irq"), Count: int(count),
				Eventfd: irq.uint32(4)&1 != 0, Maskable: irq.uint32(4)&2 != 0,
			})
		}
	}
	p.Display = Display{Region: planes(device, planeRegion), DMABuf: planes(device, planeDMABuf)}
	p.Migration = askMigration(device)
	return p, nil
}

func askRegion(device int, kind string, index uint32) (Region, error) {
	const size = 32
	block := newBlock(size)
	block.putUint32(8, index)
	if _, err := block.ioctl(device, vfioDeviceRegion); errors.Is(err, syscall.EINVAL) {
		return Region{}, nil // not implemented
	} else if err != nil {
		return Region{}, err
	}
	// Where there are capabilities, the kernel says how much room they need.
	if need := block.uint32(0); need > size && need <= maxCapabilityBytes {
		block = newBlock(int(need))
		block.putUint32(8, index)
		if _, err := block.ioctl(device, vfioDeviceRegion); err != nil {
			return Region{}, err
		}
	}
	flags := block.uint32(4)
	region := Region{
		Index: int(index), Name: nameOf(pciRegions, kind, int(index), "region"), Size: block.uint64(16),
		Read: flags&1 != 0, Write: flags&2 != 0, Map: flags&4 != 0, Areas: []Area{},
	}
	if flags&regionHasCaps != 0 {
		region.Areas = sparseAreas(block, block.uint32(12))
	}
	return region, nil
}

// sparseAreas walks the capability chain of a region for the areas that can be
// mapped. It takes nothing beyond the block, whatever the chain says.
func sparseAreas(block block, at uint32) []Area {
	areas := []Area{}
	for hops := 0; at != 0 && int(at)+16 <= len(block) && hops < maxIndexes; hops++ {
		if binary.NativeEndian.Uint16(block[at:]) == capabilitySparse {
			for n := range block.uint32(at + 8) {
				area := uint64(at) + 16 + 16*uint64(n)
				if area+16 > uint64(len(block)) {
					break
				}
				areas = append(areas, Area{Offset: block.uint64(uint32(area)), Size: block.uint64(uint32(area) + 8)})
			}
		}
		at = block.uint32(at + 4)
	}
	return areas
}

// planes tells whether the device shows its picture that way.
func planes(device int, how uint32) bool {
	plane := newBlock(64)
	plane.putUint32(4, planeProbe|how)
	_, err := plane.ioctl(device, vfioDevicePlane)
	return err == nil
}

// askMigration: a device without the feature, or a kernel older than it, says
// ENOTTY or EINVAL, which is no.
func askMigration(device int) Migration {
	feature := newBlock(16)
	feature.putUint32(4, featureGet|featureMigration)
	if _, err := feature.ioctl(device, vfioDeviceFeature); err != nil {
		return Migration{}
	}
	flags := feature.uint64(8)
	logging := newBlock(8)
	logging.putUint32(4, featureProbe|1<<17|featureDMALogging)
	_, err := logging.ioctl(device, vfioDeviceFeature)
	return Migration{StopCopy: flags&1 != 0, P2P: flags&2 != 0, PreCopy: flags&4 != 0, DirtyTracking: err == nil}
}

// Bind makes osFS a [BindFS].
func (f *osFS) Bind(name string) error {
	iommu, err := f.open("dev/iommu", unix.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(iommu) }()
	device, err := f.open(name, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(device) }()
	bind := newBlock(16)
	bind.putUint32(8, uint32(iommu))
	if _, err := bind.ioctl(device, vfioDeviceBind); err != nil {
		return failed("bind", name, err)
	}
	return nil
}

// failed names what an ioctl failed at, so that its errno can be explained.
func failed(op, object string, err error) error {
	return &fs.PathError{Op: op, Path: object, Err: err}
}

// block is an argument of an ioctl that starts with its own size.
type block []byte

func newBlock(size int) block {
	b := make(block, size)
	b.putUint32(0, uint32(size))
	return b
}

func (b block) uint32(at uint32) uint32        { return binary.NativeEndian.Uint32(b[at:]) }
func (b block) uint64(at uint32) uint64        { return binary.NativeEndian.Uint64(b[at:]) }
func (b block) putUint32(at int, value uint32) { binary.NativeEndian.PutUint32(b[at:], value) }
func (b block) ioctl(fd, request int) (int, error) {
	return ioctlPointer(fd, request, unsafe.Pointer(&b[0]))
}

// ioctlPointer converts the pointer within the call, as package unsafe demands.
func ioctlPointer(fd, request int, argument unsafe.Pointer) (int, error) {
	for {
		result, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(argument))
		if errno != syscall.EINTR {
			return ioctlResult(result, errno)
		}
	}
}

func ioctl(fd, request int, argument uintptr) (int, error) {
	for {
		result, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), argument)
		if errno != syscall.EINTR {
			return ioctlResult(result, errno)
		}
	}
}

func ioctlResult(result uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(result), nil
}
