package mdev

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// AllVFs asks for as many virtual functions as the physical one can have.
const AllVFs = -1

const (
	sriovManage = "usr/lib/nvidia/sriov-manage"
	// vfsTimeout bounds a change whose context has no deadline.
	vfsTimeout = 2 * time.Minute
	// vfsPatience is how long virtual functions may take to come or go after
	// they were asked to.
	vfsPatience = 10 * time.Second
)

// VFPlan says what a change of a GPU's virtual functions would do.
type VFPlan struct {
	GPU   string   `json:"gpu"`
	From  int      `json:"from"`  // virtual functions now
	To    int      `json:"to"`    // and after
	Tool  string   `json:"tool"`  // what does it: "sriov-manage" or "sriov_numvfs"
	Wipes []string `json:"wipes"` // what is lost by it
	// Blockers are why it is refused, or of no use: vGPUs, VMs and processes that use the
	// GPU; a driver that gives it or its virtual functions to VMs whole; virtual functions
	// that are enabled and offer no types. While there are any, SetVFs changes nothing and fails with ErrInUse.
	Blockers []string `json:"blockers"`
}

// PlanVFs says what [Host.SetVFs] would do, and does nothing. gpu is the PCI
// address of a physical function.
func (h *Host) PlanVFs(ctx context.Context, gpu string, count int) (VFPlan, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	plan, err := h.planVFs(ctx, "plan virtual functions", gpu, count)
	return plan.VFPlan, err
}

// SetVFs enables count virtual functions of a GPU, or all of them with
// [AllVFs], or disables them with 0. Enabled functions do not outlive a restart
// of the host.
//
// NVIDIA's are all enabled or disabled by its program sriov-manage, whose
// result is looked at, since it may say success when it failed; others by
// sriov_numvfs. When they are already so, nothing is done. With a [Config.Root],
// the program is run in that root (chroot), which must be a host's whole one.
//
// A GPU in use is refused with [ErrInUse]; enabling wipes the MIG instances of
// an NVIDIA GPU, which [Host.PlanVFs] tells before. The other errors are
// [ErrNotFound], [ErrInvalid], [ErrUnsupported] (no SR-IOV, or no
// sriov-manage), [ErrRefused] and [ErrPermission]. Without a deadline in ctx,
// two minutes are the bound; when ctx ends first, some functions may be enabled.
func (h *Host) SetVFs(ctx context.Context, gpu string, count int) (SRIOV, error) {
	const op = "set virtual functions"
	ctx, cancel := bounded(ctx, vfsTimeout)
	defer cancel()
	planned, err := h.planVFs(ctx, op, gpu, count)
	if err != nil {
		return SRIOV{}, err
	}
	plan, where := planned.VFPlan, planned.where
	if plan.From == plan.To {
		return h.vfsOf(ctx, op, plan.GPU, where)
	}
	if len(plan.Blockers) > 0 {
		return SRIOV{}, &Error{
			Op: op, Object: plan.GPU, Meaning: "the GPU is in use: " + strings.Join(plan.Blockers, "; "),
			Next: "stop the VMs, remove the vGPUs, end the processes and take from vfio-pci what is bound to it, then retry", Kind: ErrInUse,
		}
	}
	var said string
	if plan.Tool == "sriov-manage" {
		said, err = h.runSRIOVManage(ctx, op, &plan)
	} else {
		err = h.writeNumVFs(ctx, op, &plan, where)
	}
	if err != nil {
		return SRIOV{}, err
	}
	return h.awaitVFs(ctx, op, &plan, where, said)
}

// planned is a plan, and where the GPU is.
type planned struct {
	VFPlan
	where string
}

func (h *Host) planVFs(ctx context.Context, op, gpu string, count int) (planned, error) {
	return look(ctx, h, op, gpu, func(s *scan) (planned, error) {
		plan, where, err := s.planVFs(ctx, op, gpu, count)
		return planned{plan, where}, err
	})
}

func (s *scan) planVFs(ctx context.Context, op, gpu string, count int) (VFPlan, string, error) {
	address, err := ParsePCIAddress(strings.ToLower(gpu))
	if err != nil {
		return VFPlan{}, "", &Error{Op: op, Object: fmt.Sprintf("%q", gpu), Meaning: "not a PCI address", Next: "name a GPU as the inventory does: 0000:41:00.0", Kind: ErrInvalid}
	}
	name := address.String()
	where, err := s.follow(pciDevicesDir, name)
	if absent(err) {
		return VFPlan{}, "", &Error{Op: op, Object: name, Meaning: "there is no such PCI device", Next: "choose a GPU from the inventory", Kind: ErrNotFound}
	}
	if err != nil {
		return VFPlan{}, "", explain(op, name, anyFile, err)
	}
	pf := s.parent(place{name: name, path: where})
	state := s.sriov(where, &pf.Problems)
	if state == nil {
		e := &Error{Op: op, Object: name, Meaning: "it has no SR-IOV", Next: "choose a physical function that has; a GPU without makes vGPUs itself", Kind: ErrUnsupported}
		if pf.PF != "" {
			e.Meaning, e.Next = "it is a virtual function", "name its physical function, "+pf.PF
		}
		return VFPlan{}, "", e
	}
	plan := VFPlan{GPU: name, From: state.Enabled, To: count, Tool: "sriov_numvfs", Wipes: []string{}, Blockers: []string{}}
	if count == AllVFs {
		plan.To = state.Total
	}
	nvidia := pf.PCI != nil && pf.PCI.Vendor == nvidiaVendor
	if plan.To < 0 || plan.To > state.Total || nvidia && plan.To != 0 && plan.To != state.Total {
		return VFPlan{}, "", &Error{
			Op: op, Object: name, Meaning: fmt.Sprintf("it cannot have %d virtual functions", count),
			Cause: fmt.Sprintf("it has up to %d; NVIDIA's have all or none", state.Total), Next: "ask for all or 0", Kind: ErrInvalid,
		}
	}
	if nvidia {
		plan.Tool = "sriov-manage"
		var ignored []Problem // what the source does not tell, the driver's files may
		if mig := s.mig(name, nil, s.facts(ctx, name, pf.Driver, &ignored)); mig != nil && len(mig.Instances) > 0 && plan.To != plan.From {
			plan.Wipes = append(plan.Wipes, fmt.Sprintf("%d MIG GPU instances", len(mig.Instances)))
		}
		if plan.To != plan.From {
			plan.Wipes = append(plan.Wipes, "mixed-size mode, if it is on")
		}
	}
	if plan.To != plan.From {
		plan.Blockers, err = s.usersOf(ctx, &pf, state)
	}
	if nvidia {
		plan.Blockers = append(plan.Blockers, s.blockers(&pf, state, &plan)...)
	}
	return plan, where, err
}

// usersOf lists what uses a physical function or one of its virtual ones.
func (s *scan) usersOf(ctx context.Context, pf *Parent, state *SRIOV) ([]string, error) {
	users := []string{}
	bus, err := s.busDevices()
	if err != nil {
		return nil, explain("plan virtual functions", mdevDevicesDir, anyFile, err)
	}
	nodes := map[string]string{} // a node under /dev -> the function it opens
	functions := append([]string{pf.Name}, state.VFs...)
	for _, name := range functions {
		p := *pf
		if name != pf.Name {
			p = s.parent(place{name: name, path: path.Join(path.Dir(pf.Path), name)})
		}
		s.mdevs(&p, bus)
		if _, err := s.fs.Stat(p.Path + "/" + currentFile); err == nil {
			s.vf(&p)
		}
		for _, dev := range p.Devices {
			users = append(users, "vGPU "+dev.ID+holderNote(s.holderOf(ctx, &dev)))
		}
		if d, err := openDir(s.fs, p.Path, s.buf); err == nil {
			if group := d.base("iommu_group"); group != "" && len(p.Devices) == 0 {
				nodes["/dev/vfio/"+group] = name
			}
			d.close()
		}
	}
	if minor, ok := s.nvidiaMinor(pf.Name); ok {
		nodes["/dev/nvidia"+minor] = pf.Name
	}
	wanted := map[string]bool{}
	for node := range nodes {
		wanted[node] = true
	}
	for node, holders := range s.holders(ctx, wanted) {
		for _, who := range holders {
			// NVIDIA's own daemons let go by themselves.
			if !strings.HasPrefix(who.Command, "nvidia-") {
				users = append(users, nodes[node]+" is open in "+who.String())
			}
		}
	}
	slices.Sort(users)
	return users, ended(ctx, "plan virtual functions", pf.Name)
}

func holderNote(who *Holder) string {
	if who == nil {
		return ""
	}
	return " (" + who.String() + ")"
}

func (s *scan) nvidiaMinor(address string) (string, bool) {
	information, err := s.fs.ReadFile("proc/driver/nvidia/gpus/" + address + "/information")
	if err != nil {
		return "", false
	}
	return parseDeviceMinor(string(information))
}

func (h *Host) vfsOf(ctx context.Context, op, gpu, where string) (SRIOV, error) {
	return look(ctx, h, op, gpu, func(s *scan) (SRIOV, error) {
		var problems []Problem
		if state := s.sriov(where, &problems); state != nil {
			return *state, nil
		}
		return SRIOV{VFs: []string{}}, nil
	})
}

// runSRIOVManage returns what the program said, whatever its exit status: the
// virtual functions that are there afterwards tell whether it worked.
func (h *Host) runSRIOVManage(ctx context.Context, op string, plan *VFPlan) (string, error) {
	runner, ok := h.fs.(RunFS)
	if !ok {
		return "", &Error{Op: op, Object: plan.GPU, Meaning: "this host's files cannot run programs", Next: "implement mdev.RunFS on its FS", Kind: ErrUnsupported}
	}
	flag := "-e"
	if plan.To == 0 {
		flag = "-d"
	}
	output, err := runner.Run(ctx, sriovManage, flag, plan.GPU)
	if ctx.Err() != nil {
		return "", &Error{Op: op, Object: plan.GPU, Meaning: "sriov-manage had not finished", Next: "look at the inventory: some virtual functions may be there", Err: ctx.Err()}
	}
	if absent(err) {
		return "", h.noSRIOVManage(op, plan.GPU, errnoOf(err))
	}
	if errnoOf(err) != 0 {
		return "", explain(op, "/"+sriovManage, anyFile, err)
	}
	said := strings.TrimSpace(string(output))
	if err != nil {
		said = strings.TrimSpace(said + "\n" + err.Error())
	}
	return said, nil
}

func (h *Host) noSRIOVManage(op, gpu string, errno syscall.Errno) *Error {
	e := &Error{
		Op: op, Object: gpu, Errno: errno, Meaning: "there is no /" + sriovManage, Cause: "NVIDIA's vGPU host driver is not installed",
		Next: "install NVIDIA's vGPU host driver; the kernel's sriov_numvfs is not for these GPUs", Kind: ErrUnsupported,
	}
	if root := strings.TrimSuffix(h.root, "/"); root != "" {
		e.Meaning = "/" + sriovManage + " cannot be run in " + root
		e.Cause = "NVIDIA's vGPU host driver is not installed there, or that is not the whole root of a host: the program and its shell run in it (chroot)"
		e.Next = "run it on the host itself, then look at the inventory again"
	}
	return e
}

// writeNumVFs goes through 0, as the kernel demands.
func (h *Host) writeNumVFs(ctx context.Context, op string, plan *VFPlan, where string) error {
	file := where + "/sriov_numvfs"
	if plan.From != 0 && plan.To != 0 {
		if err := h.write(ctx, file, "0\n"); err != nil {
			return explain(op, plan.GPU, anyFile, err)
		}
	}
	if err := h.write(ctx, file, strconv.Itoa(plan.To)+"\n"); err != nil {
		return explain(op, plan.GPU, anyFile, err)
	}
	return nil
}

// awaitVFs looks at what has come of the change.
func (h *Host) awaitVFs(ctx context.Context, op string, plan *VFPlan, where, said string) (SRIOV, error) {
	wait := newPatience(vfsPatience)
	for {
		state, err := h.vfsOf(ctx, op, plan.GPU, where)
		if err != nil {
			return SRIOV{}, err
		}
		if state.Enabled == plan.To {
			return state, nil
		}
		if refused := strings.Contains(said, "unbindLock"); !refused && wait.sleep(ctx) {
			continue
		}
		e := &Error{
			Op: op, Object: plan.GPU, Meaning: fmt.Sprintf("%d virtual functions are there, not %d", state.Enabled, plan.To),
			Cause: plan.Tool + " gave no reason", Next: "see the kernel log (dmesg); SR-IOV and the IOMMU must be enabled in the firmware", Kind: ErrRefused,
		}
		if said != "" {
			e.Cause = plan.Tool + " said: " + strings.ReplaceAll(said, "\n", " / ")
		}
		if strings.Contains(said, "unbindLock") {
			e.Kind, e.Next = ErrInUse, "end the programs that use the GPU (nvidia-smi, monitoring), then retry"
		}
		e.Err = ctx.Err()
		return SRIOV{}, e
	}
}
