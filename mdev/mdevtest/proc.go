package mdevtest

import (
	"fmt"
	"path"
	"strings"

	"github.com/google/uuid"
)

// procNVIDIA is where NVIDIA's driver shows what it has.
const procNVIDIA = "proc/driver/nvidia"

// showGPU shows a GPU of NVIDIA's in proc/, under the first free device minor.
func (h *Host) showGPU(g *gpu) {
	if !g.model.nvidia() {
		return
	}
	root := h.dir(h.root, procNVIDIA)
	if root.entries()["version"] == nil { // the driver of the first GPU is the host's (chosen)
		h.text(root, "version", fmt.Sprintf("NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  Fri Jan  3 00:00:00 UTC 2025\n", g.board.release(g.model)))
		h.text(h.dir(h.root, "sys/module/nvidia"), "version", g.board.release(g.model)+"\n")
		h.text(h.dir(h.root, path.Dir(nvidiaSMI)), path.Base(nvidiaSMI), "#!/bin/sh\n").mode = 0o755
		mig := h.dir(root, "capabilities/mig")
		h.text(mig, "config", "DeviceFileMinor: 1\nDeviceFileMode: 256\nDeviceFileModify: 1\n")
		h.text(mig, "monitor", "DeviceFileMinor: 2\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
	}
	minors := h.dir(root, "capabilities").entries()
	for minors[fmt.Sprintf("gpu%d", g.minor)] != nil {
		g.minor++
	}
	h.dir(root, g.capabilities())
	h.text(h.dir(root, "gpus/"+g.name), "information", strings.Join([]string{
		"Model: \t\t NVIDIA " + g.model.series.board,
		fmt.Sprintf("IRQ:   \t\t %d", 100+g.minor),
		"GPU UUID: \t GPU-" + uuid.NewSHA1(uuid.Nil, []byte(g.name)).String(),
		"Bus Type: \t PCIe",
		"Bus Location: \t " + g.name,
		fmt.Sprintf("Device Minor: \t %d", g.minor),
		"GPU Excluded:\t No\n",
	}, "\n"))
	g.showInstances()
}

// hideGPU takes away what showGPU showed.
func (h *Host) hideGPU(g *gpu) {
	if !g.model.nvidia() {
		return
	}
	root := h.dir(h.root, procNVIDIA)
	h.dir(root, "gpus").drop(g.name)
	h.dir(root, "capabilities").drop(fmt.Sprintf("gpu%d", g.minor))
}

func (g *gpu) capabilities() string { return fmt.Sprintf("capabilities/gpu%d", g.minor) }

// showInstances shows the GPU instances, each with the file that gives access to it. The
// directory for them is there whether or not the GPU is in MIG mode, or has any.
func (g *gpu) showInstances() {
	h := g.h
	dir := h.dir(h.root, procNVIDIA+"/"+g.capabilities())
	dir.drop("mig")
	mig := h.dir(dir, "mig")
	for _, i := range g.instances {
		minor := 3 + 9*i.id + 128*g.minor
		h.text(h.dir(mig, fmt.Sprintf("gi%d", i.id)), "access", fmt.Sprintf("DeviceFileMinor: %d\nDeviceFileMode: 292\nDeviceFileModify: 1\n", minor))
	}
}
