package mdevtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/internal/pci"
)

// nvidiaSMI is NVIDIA's program.
const nvidiaSMI = "usr/bin/nvidia-smi"

// smiUsage is what is played of nvidia-smi.
const smiUsage = `usage: nvidia-smi -i GPU -mig 0|1
       nvidia-smi mig -i GPU -lgip | -lgi | -cgi PROFILE[,PROFILE...] | -dgi -gi ID[,ID...]
`

// runNVIDIASMI is NVIDIA's program, as far as MIG goes: the operator's part.
func (h *Host) runNVIDIASMI(args []string) (string, error) {
	mig := len(args) > 0 && args[0] == "mig"
	if mig {
		args = args[1:]
	}
	if len(args) < 3 || args[0] != "-i" {
		return smiUsage, errExit
	}
	g := h.smiGPU(args[1])
	if g == nil {
		return "No devices were found\n", errExit
	}
	rest := strings.Join(args[2:], " ")
	switch verb, value, _ := strings.Cut(rest, " "); {
	case !mig && (rest == "-mig 0" || rest == "-mig 1"):
		return said(g.setMIG(value == "1"), fmt.Sprintf("%s MIG Mode for GPU %s\nAll done.\n", map[string]string{"0": "Disabled", "1": "Enabled"}[value], g.name))
	case mig && rest == "-lgip":
		return g.listKinds(), nil
	case mig && rest == "-lgi":
		return g.listInstances(), nil
	case mig && verb == "-cgi" && value != "":
		return each(value, func(profile string) (string, error) {
			id, err := g.createInstance(profile)
			return fmt.Sprintf("Successfully created GPU instance ID %2d on GPU %2d using profile MIG %s\n", id, g.minor, profile), err
		})
	case mig && verb == "-dgi" && strings.HasPrefix(value, "-gi "):
		return each(strings.TrimPrefix(value, "-gi "), func(text string) (string, error) {
			id, err := strconv.Atoi(text)
			if err == nil {
				err = g.destroyInstance(id)
			}
			return fmt.Sprintf("Successfully destroyed GPU instance ID %2d from GPU %2d\n", id, g.minor), err
		})
	}
	return smiUsage, errExit
}

// errExit is how a program's failure reads.
var errExit = errors.New("exit status 1")

// said is a program's output: what it did, or why it did not.
func said(err error, done string) (string, error) {
	if err != nil {
		return err.Error() + "\n", errExit
	}
	return done, nil
}

// each does something for the words of a list, until it fails.
func each(list string, do func(string) (string, error)) (out string, err error) {
	for word := range strings.SplitSeq(list, ",") {
		text, err := do(word)
		text, err = said(err, text)
		if out += text; err != nil {
			return out, err
		}
	}
	return out, nil
}

// smiGPU finds a GPU of NVIDIA's by its PCI address or the number of its device node.
func (h *Host) smiGPU(name string) *gpu {
	address := name
	if a, ok := pci.Parse(name); ok { // nvidia-smi itself writes 00000000:41:00.0
		address = a.String()
	}
	i := slices.IndexFunc(h.gpus, func(g *gpu) bool {
		return g.model.nvidia() && (g.name == address || strconv.Itoa(g.minor) == name)
	})
	if i < 0 {
		return nil
	}
	return h.gpus[i]
}

// listKinds tells the profiles, and how many more instances of each there can be.
func (g *gpu) listKinds() string {
	var out strings.Builder
	out.WriteString("GPU  Name                Instances   Memory GiB\n")
	for _, k := range g.model.series.kinds {
		free, list := 0, g.instances
		for {
			more, err := g.model.addInstance(list, k.profile)
			if err != nil {
				break
			}
			list = more
			free++
		}
		fmt.Fprintf(&out, "%3d  MIG %-15s %d/%d %13.2f\n", g.minor, k.profile, free, k.most, gib(k.profile))
	}
	return out.String()
}

func (g *gpu) listInstances() string {
	if len(g.instances) == 0 {
		return "No GPU instances found: Not Found\n"
	}
	var out strings.Builder
	out.WriteString("GPU  Name                Instance ID  Memory GiB\n")
	for _, i := range g.instances {
		fmt.Fprintf(&out, "%3d  MIG %-15s %11d %11.2f\n", g.minor, i.profile, i.id, gib(i.profile))
	}
	return out.String()
}

func gib(p nvidia.Profile) float64 { return float64(tell(0, p).Memory) / (1 << 30) }
