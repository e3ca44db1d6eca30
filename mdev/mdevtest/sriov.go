package mdevtest

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

const (
	// sriovManage is NVIDIA's program.
	sriovManage = "usr/lib/nvidia/sriov-manage"
	// vfOffset is where NVIDIA's VFs begin: 0000:41:00.4.
	vfOffset = 4
)

func (h *Host) sriovFiles(f *function) {
	n := f.node
	h.text(n, "sriov_totalvfs", itoa(f.gpu.model.series.totalVFs)+"\n")
	h.text(n, "sriov_offset", itoa(vfOffset)+"\n")
	h.text(n, "sriov_stride", "1\n")
	h.text(n, "sriov_vf_device", f.gpu.model.deviceID[2:]+"\n")
	h.text(n, "sriov_drivers_autoprobe", "1\n")
	h.attr(n, "sriov_numvfs", func() (string, error) { return itoa(len(f.vfs)) + "\n", nil },
		func(data string) effect { return failed(h.rawNumVFs(f, data)) })
}

func (h *Host) enableVFs(f *function, n int) {
	vendor := f.gpu.board.VendorVFIO
	for i := range n {
		vf := h.addFunction(f.gpu, plus(f.addr, vfOffset+i), f)
		f.vfs = append(f.vfs, vf)
		h.link(vf.node, "physfn", f.node)
		h.link(f.node, fmt.Sprintf("virtfn%d", i), vf.node)
		if vendor {
			vf.vfio = h.registerVFIO(vf.node, "vfio-pci")
			h.vgpuFiles(vf)
		} else {
			prefix := f.gpu.model.driver
			if i >= n-f.gpu.board.VFIOPCITypes {
				prefix = "vfio-pci"
			}
			h.registerParent(f.gpu, vf.node, true, prefix)
		}
	}
}

// disableVFs takes the VFs away that nobody uses, with their vGPUs.
func (h *Host) disableVFs(f *function) {
	for _, p := range f.gpu.parents {
		if p.vf {
			h.unregisterParent(p)
		}
	}
	f.gpu.parents = slices.DeleteFunc(f.gpu.parents, func(p *parent) bool { return p.vf })
	for i, vf := range f.vfs {
		if vf.vgpu != nil {
			f.gpu.dismiss(vf.vgpu)
			close(vf.vgpu.gone)
		}
		if vf.vfio != nil {
			h.unregisterVFIO(vf.node, vf.vfio)
			h.releaseVFIO(vf.node, vf.vfio)
		}
		h.removeFunction(vf)
		f.node.drop(fmt.Sprintf("virtfn%d", i))
	}
	f.vfs = nil
}

// addSRIOVManage puts the program where Stat finds it.
func (h *Host) addSRIOVManage() {
	dir := h.dir(h.root, "usr/lib/nvidia")
	if dir.entries()["sriov-manage"] == nil {
		h.text(dir, "sriov-manage", "#!/bin/sh\n").mode = fs.FileMode(0o755)
	}
}

// runSRIOVManage is NVIDIA's program: it wipes GPU instances and the mixed-size
// mode, and what fails it only prints.
func (h *Host) runSRIOVManage(enable bool, which string) string {
	var out strings.Builder
	for _, g := range h.gpus {
		if g.pf == nil || g.model.series.totalVFs == 0 || which != "ALL" && which != g.name {
			continue
		}
		if g.userOf() != nil {
			fmt.Fprintf(&out, "Cannot obtain unbindLock for %s\n", g.name)
			continue
		}
		verb := "Disabling"
		if enable {
			verb = "Enabling"
		}
		fmt.Fprintf(&out, "%s VFs on %s\n", verb, g.name)
		h.disableVFs(g.pf)
		g.mixed = false
		g.setInstances(nil)
		if enable {
			h.enableVFs(g.pf, g.model.series.totalVFs)
		}
	}
	if out.Len() == 0 {
		fmt.Fprintf(&out, "no SR-IOV GPU %s\n", which)
	}
	return out.String()
}
