package mdev

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// nvidiaDriver is the kernel driver of NVIDIA's GPUs, and of their virtual functions.
const nvidiaDriver = "nvidia"

// The files that have the version of NVIDIA's loaded driver, the second among other words.
const (
	nvidiaVersionFile     = "sys/module/nvidia/version"
	nvidiaProcVersionFile = "proc/driver/nvidia/version"
)

// generations of boards have vGPUs from a branch of NVIDIA's driver on, and none before. They
// are known by what their PCI device ids begin with.
var generations = []struct {
	ids    []string
	branch int
	name   string
}{
	{[]string{"29", "2b", "2c", "2d", "2f", "31"}, 570, "Blackwell"},
	{[]string{"23"}, 525, "Hopper"},
	{[]string{"26", "27", "28"}, 525, "Ada Lovelace"},
}

// diagnose adds to a GPU's problems why it makes no vGPUs, or fewer than it could, by what is
// known: each with what to do.
func (s *scan) diagnose(g *GPU) {
	if g.PCI == nil || g.PCI.Vendor != nvidiaVendor {
		return
	}
	if p, ok := s.wrongDriver(g); ok {
		g.Problems = append(g.Problems, p)
		return
	}
	if g.SRIOV != nil {
		g.Problems = append(g.Problems, s.idleVFs(g)...)
	}
	switch {
	case len(g.Parents) == 0:
	case g.MIG != nil && g.MIG.Enabled && len(g.MIG.Instances) == 0:
		g.Problems = append(g.Problems, Problem{
			Code: ProblemNoInstance, Object: g.Name, Text: "it is in MIG mode without GPU instances, and makes no vGPUs",
			Next: "make some (nvidia-smi mig -i " + g.Name + " -lgip lists the profiles, -cgi makes one), or disable MIG mode (nvidia-smi -i " + g.Name + " -mig 0)",
		})
	case g.offersNothing():
		g.Problems = append(g.Problems, Problem{
			Code: ProblemIdle, Object: g.Name, Text: "it runs no vGPU and offers none: it is in MIG mode without GPU instances, or its vGPU manager is not ready",
			Next: "see nvidia-smi -i " + g.Name + " -q for the MIG mode, and the kernel log (dmesg)",
		})
	}
}

// offersNothing tells whether a GPU that runs nothing has no room for any type.
func (g *GPU) offersNothing() bool {
	for i := range g.Parents {
		p := &g.Parents[i]
		if len(p.Devices) > 0 || len(p.Problems) > 0 || slices.ContainsFunc(p.Types, func(t Type) bool { return t.Available > 0 }) {
			return false
		}
	}
	return true
}

// wrongDriver tells of a GPU that no driver can make vGPUs of.
func (s *scan) wrongDriver(g *GPU) (Problem, bool) {
	if len(g.Parents) > 0 || g.SRIOV == nil {
		return Problem{}, false
	}
	if s.nvidiaDrives(g.Name, g.Driver) {
		return Problem{}, false
	}
	p := Problem{Code: ProblemDriver, Object: g.Name, Next: "bind it to NVIDIA's vGPU host driver, then enable its virtual functions"}
	switch {
	case g.Driver == "":
		p.Text = "it is bound to no driver, and makes no vGPUs"
		p.Next = "load NVIDIA's vGPU host driver, then enable its virtual functions"
	case isVFIO(g.Driver):
		p.Code, p.Text = ProblemGivenWhole, "it is bound to "+g.Driver+", to be given to a VM whole, and makes no vGPUs"
	default:
		p.Text = "it is bound to " + g.Driver + ", which makes no vGPUs"
	}
	return p, true
}

// nvidiaDrives tells whether a GPU is bound to NVIDIA's driver: by the link that says so, or where
// there is none by the driver's own list.
func (s *scan) nvidiaDrives(gpu, driver string) bool {
	if driver == "" {
		_, listed := s.nvidiaMinor(gpu)
		return listed
	}
	return driver == nvidiaDriver
}

// isVFIO tells the drivers that give a PCI function to a VM as it is.
func isVFIO(driver string) bool { return strings.HasPrefix(driver, "vfio") }

// idleVFs tells of virtual functions that are not enabled, or are no parents of vGPUs.
func (s *scan) idleVFs(g *GPU) []Problem {
	if g.SRIOV.Enabled == 0 && len(g.Parents) == 0 {
		return []Problem{s.vfsOff(g)}
	}
	idle := s.idleByDriver(g)
	var problems []Problem
	for _, driver := range slices.Sorted(maps.Keys(idle)) {
		p := Problem{Object: g.Name, Next: "disable and enable its virtual functions, while no VM uses them: " + sriovManageOn(g.Name)}
		who := ofVFs(len(idle[driver]), g.SRIOV.Enabled)
		switch {
		case isVFIO(driver):
			p.Code, p.Text = ProblemGivenWhole, who+" bound to "+driver+", to be given to VMs whole, and no vGPU can be made on them"
		case driver == nvidiaDriver:
			p.Code = ProblemNoTypes
			p.Text, p.Next = s.withoutTypes(g, len(idle[driver]))
		case driver == "":
			p.Code, p.Text = ProblemDriver, who+" bound to no driver, and no vGPU can be made on them"
		default:
			p.Code, p.Text = ProblemDriver, who+" bound to "+driver+", and no vGPU can be made on them"
		}
		problems = append(problems, p)
	}
	return problems
}

func ofVFs(n, all int) string {
	if n == 1 {
		return fmt.Sprintf("1 of its %d virtual functions is", all)
	}
	return fmt.Sprintf("%d of its %d virtual functions are", n, all)
}

func sriovManageOn(gpu string) string {
	return "/" + sriovManage + " -d " + gpu + ", then -e " + gpu
}

func (s *scan) vfsOff(g *GPU) Problem {
	p := Problem{
		Code: ProblemVFsOff, Object: g.Name, Text: "its virtual functions are not enabled, and it makes no vGPUs without them",
		Next: "enable them: /" + sriovManage + " -e " + g.Name,
	}
	if g.SRIOV.Total == 0 {
		p.Text = "it can have no virtual functions, and makes no vGPUs without them"
		p.Next = "enable SR-IOV in the firmware (BIOS), and the display-less mode of a board that has one"
	}
	if why, next := s.driverTooOld(g); why != "" {
		p.Text, p.Next = p.Text+"; "+why, next
	}
	return p
}

// idleByDriver are the virtual functions that are no parents, by their driver.
func (s *scan) idleByDriver(g *GPU) map[string][]string {
	parents := make(map[string]bool, len(g.Parents))
	for i := range g.Parents {
		parents[g.Parents[i].Name] = true
	}
	idle := map[string][]string{}
	for _, vf := range g.SRIOV.VFs {
		if parents[vf] {
			continue
		}
		driver := ""
		if target, err := s.fs.Readlink(pciDevicesDir + "/" + vf + "/driver"); err == nil {
			driver = path.Base(target)
		}
		idle[driver] = append(idle[driver], vf)
	}
	return idle
}

// withoutTypes says why virtual functions of NVIDIA's driver offer no types.
func (s *scan) withoutTypes(g *GPU, n int) (text, next string) {
	text = "its virtual functions are enabled, and none offers types of vGPUs"
	if len(g.Parents) > 0 {
		text = fmt.Sprintf("%d of its %d virtual functions offer no types of vGPUs", n, g.SRIOV.Enabled)
	}
	if why, next := s.driverTooOld(g); why != "" {
		return text + ": " + why, next
	}
	driver := "the loaded driver"
	if version := s.driverVersion(g); version != "" {
		driver += " (" + version + ")"
	}
	return text + ": " + driver + " is not NVIDIA's vGPU host driver, is too old for the board, or the board is in a mode without vGPUs",
		"see that NVIDIA's vGPU host driver is loaded, in a version that supports the board (nvidia-smi vgpu -s), and that the board is in display-less (compute) mode"
}

// driverVersion is the version of NVIDIA's loaded driver, "" where it is not known.
func (s *scan) driverVersion(g *GPU) string {
	if g.Facts != nil && g.Facts.Driver != "" {
		return g.Facts.Driver
	}
	if data, err := s.fs.ReadFile(nvidiaVersionFile); err == nil {
		return strings.TrimSpace(string(data))
	}
	data, err := s.fs.ReadFile(nvidiaProcVersionFile)
	if err != nil {
		return ""
	}
	return parseNVRMVersion(string(data))
}

// parseNVRMVersion finds the version in "NVRM version: NVIDIA UNIX x86_64 Kernel Module
// 535.161.05  Sat Feb 17 …".
func parseNVRMVersion(text string) string {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "NVRM version") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if branch, rest, ok := strings.Cut(word, "."); ok && rest != "" {
				if _, isNumber := parseCount(branch); isNumber {
					return word
				}
			}
		}
	}
	return ""
}

// driverTooOld tells of a loaded driver that is older than the first that makes vGPUs on the
// board.
func (s *scan) driverTooOld(g *GPU) (why, next string) {
	version := s.driverVersion(g)
	major, _, _ := strings.Cut(version, ".")
	branch, err := strconv.Atoi(major)
	if err != nil {
		return "", ""
	}
	for _, generation := range generations {
		of := slices.ContainsFunc(generation.ids, func(id string) bool { return strings.HasPrefix(g.PCI.Device, id) })
		if of && branch < generation.branch {
			return fmt.Sprintf("the loaded driver %s is too old for vGPUs on boards of the %s generation", version, generation.name),
				fmt.Sprintf("install NVIDIA's vGPU host driver of branch %d or newer", generation.branch)
		}
	}
	return "", ""
}

// diagnosis is what is the matter with a GPU that makes no vGPUs, if that is known.
func (g *GPU) diagnosis() (Problem, bool) {
	at := slices.IndexFunc(g.Problems, func(p Problem) bool { return p.Code != "" })
	if at < 0 {
		return Problem{}, false
	}
	return g.Problems[at], true
}

// blockers are what keeps a GPU's virtual functions from being enabled or disabled, or from
// being of use, beside those that use them. Disabling is what mends those without types.
func (s *scan) blockers(pf *Parent, state *SRIOV, plan *VFPlan) []string {
	g := GPU{Name: pf.Name, PCI: pf.PCI, Driver: pf.Driver, SRIOV: state}
	for _, vf := range state.VFs {
		for _, file := range []string{creatableFile, mdevTypesDir} {
			if _, err := s.fs.Stat(pciDevicesDir + "/" + vf + "/" + file); err == nil {
				g.Parents = append(g.Parents, Parent{Name: vf})
				break
			}
		}
	}
	problems := []Problem{}
	if p, ok := s.wrongDriver(&g); ok {
		if pf.Driver != "" { // without one, sriov-manage will say so
			problems = append(problems, p)
		}
	} else if state.Enabled > 0 {
		problems = s.idleVFs(&g)
	}
	var texts []string
	for _, p := range problems {
		if p.Code == ProblemGivenWhole || plan.To > 0 {
			texts = append(texts, p.Text)
		}
	}
	return texts
}
