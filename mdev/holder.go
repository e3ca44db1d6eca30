package mdev

import (
	"bytes"
	"context"
	"os"
	"path"
	"strconv"
	"strings"
)

// deviceFD is what a process's link to an open VFIO device reads.
const deviceFD = "anon_inode:[vfio-device]"

// cdevDir has the nodes of devices themselves, where the kernel has such.
const cdevDir = "/dev/vfio/devices/"

// holding is a process that has a VFIO node open.
type holding struct {
	Holder
	device bool // it has a device open, not the group alone
}

// holders returns who has which node under /dev/vfio open. It sees what the
// permissions on /proc let it see: everything as root.
func (s *scan) holders(ctx context.Context, wanted map[string]bool) map[string][]holding {
	found := map[string][]holding{}
	pids, err := listDir(s.fs, "proc", s.buf)
	if err != nil {
		return found
	}
	for _, name := range pids {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return found
		}
		s.holdings(pid, wanted, found)
	}
	return found
}

func (s *scan) holdings(pid int, wanted map[string]bool, found map[string][]holding) {
	process := "proc/" + strconv.Itoa(pid)
	d, err := openDir(s.fs, process+"/fd", s.buf)
	if err != nil {
		return
	}
	defer d.close()
	fds, err := d.names()
	if err != nil {
		return
	}
	var nodes []string
	device := false
	for _, fd := range fds {
		target, err := d.link(fd)
		if err != nil {
			continue
		}
		device = device || target == deviceFD || wanted[target] && strings.HasPrefix(target, cdevDir)
		if wanted[target] {
			nodes = append(nodes, target)
		}
	}
	if len(nodes) == 0 {
		return
	}
	who := holding{Holder: Holder{PID: pid}, device: device}
	if comm, err := s.fs.ReadFile(process + "/comm"); err == nil {
		who.Command = strings.TrimSpace(string(comm))
	}
	if cmdline, err := s.fs.ReadFile(process + "/cmdline"); err == nil {
		who.VM = parseGuestName(cmdline)
		if program, _, _ := bytes.Cut(cmdline, []byte{0}); who.Command == "" {
			who.Command = path.Base(string(program))
		}
	}
	for _, node := range nodes {
		found[node] = append(found[node], who)
	}
}

// parseGuestName finds the VM's name in QEMU's command line, whose arguments
// end in NUL: "-name guest=win10,debug-threads=on" or "-name win10". QEMU
// doubles a comma within the name.
func parseGuestName(cmdline []byte) string {
	args := strings.Split(string(cmdline), "\x00")
	for i, arg := range args[:len(args)-1] {
		if arg != "-name" && arg != "--name" {
			continue
		}
		for n, part := range splitOptions(args[i+1]) {
			if name, ok := strings.CutPrefix(part, "guest="); ok {
				return name
			}
			if n == 0 && !strings.Contains(part, "=") {
				return part
			}
		}
	}
	return ""
}

// splitOptions splits QEMU's comma-separated options.
func splitOptions(text string) []string {
	var options []string
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != ',':
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == ',':
			b.WriteByte(',')
			i++
		default:
			options = append(options, b.String())
			b.Reset()
		}
	}
	return append(options, b.String())
}

// nodes are the paths by which a process may have the device open.
func (d *Device) nodes() []string {
	var nodes []string
	if d.IOMMUGroup != "" {
		nodes = append(nodes, "/dev/vfio/"+d.IOMMUGroup)
	}
	if d.VFIOCdev != "" {
		nodes = append(nodes, d.VFIOCdev)
	}
	return nodes
}

// holderOf says who has a device open, or nil.
func (s *scan) holderOf(ctx context.Context, dev *Device) *Holder {
	if who, ok := s.holdingOf(ctx, dev); ok {
		return &who.Holder
	}
	return nil
}

func (s *scan) holdingOf(ctx context.Context, dev *Device) (holding, bool) {
	wanted := map[string]bool{}
	for _, node := range dev.nodes() {
		wanted[node] = true
	}
	found := s.holders(ctx, wanted)
	return s.pick(dev, found)
}

// holdingOf says who has a device open, as far as that can be found out before ctx ends.
func (h *Host) holdingOf(ctx context.Context, dev *Device) (holding, bool) {
	type answer struct {
		who   holding
		known bool
	}
	seen := *dev
	got, ok := try(ctx, h, func(s *scan) answer {
		who, known := s.holdingOf(ctx, &seen)
		return answer{who, known}
	})
	return got.who, ok && got.known
}

// lastHoldingOf is holdingOf for a context that has ended or is about to.
func (h *Host) lastHoldingOf(ctx context.Context, dev *Device) (holding, bool) {
	ctx, cancel := graced(ctx)
	defer cancel()
	return h.holdingOf(ctx, dev)
}

// pick chooses a device's holder, with the VM's name as NVIDIA's driver tells
// it where the process does not.
//
// A process that has the device itself open tells more than one that passed the
// group on.
func (s *scan) pick(dev *Device, found map[string][]holding) (holding, bool) {
	var who holding
	ok := false
	for _, node := range dev.nodes() {
		for _, candidate := range found[node] {
			if !ok || candidate.device && !who.device {
				who, ok = candidate, true
			}
		}
	}
	if who.VM == "" {
		if name, err := s.fs.ReadFile(dev.Path + "/nvidia/vm_name"); err == nil {
			who.VM = strings.TrimSpace(string(name))
			ok = ok || who.VM != ""
		}
	}
	return who, ok
}

// String says who it is, for people: `VM "win10" (pid 1234)`.
func (h Holder) String() string {
	who := "a process"
	if h.VM != "" {
		who = "VM " + strconv.Quote(h.VM)
	} else if h.Command != "" {
		who = h.Command
	}
	if h.PID != 0 {
		who += " (pid " + strconv.Itoa(h.PID) + ")"
	}
	if h.PID == os.Getpid() {
		who += ", which is this process"
	}
	return who
}

// short is what to stop: `VM win10`, `process 1234`.
func (h Holder) short() string {
	if h.VM != "" {
		return "VM " + h.VM
	}
	return "process " + strconv.Itoa(h.PID)
}
