//go:build integration

package integration

import (
	"fmt"
	"strings"
)

// The types of the boards in MIG mode that tables use.
const (
	a100Slice     = "474" // A100-1-5C: a GPU instance of its own
	a100SliceME   = "706"
	a100TwoSlices = "475"
	a100Whole     = "473" // time-sliced
	pro8Q         = "1561"
	pro8A         = "1562"
	pro12Q        = "1564"
	pro2s24Q      = "9107" // two slices
	pro96Q        = "1543" // time-sliced
)

// parityMIG are boards whose vGPUs run in GPU instances. What nvidia-smi says is not compared,
// since its words are our own; whether it succeeds, and what then is there, is.
var parityMIG = []parityBoard{
	{
		name: "a100", sim: "a100@" + gpuA100 + ",vendor-vfio,mig,vfs=0", needs: "sys/bus/pci/devices/" + gpuA100 + "/sriov_totalvfs",
		vfs: vfsOf(gpuA100, 0, 1, 2, 15),
		cases: []parityCase{
			{"a vGPU in each GPU instance", steps(
				sriovManage("-e", gpuA100), gpuInstances(gpuA100, ""), readFile(vfOf(gpuA100, 0, "creatable_vgpu_types"), creatableHead),
				setVF(gpuA100, 0, a100Slice, "EIO"), setVF(gpuA100, 0, a100Whole, "EIO"),
				smi("mig -i "+gpuA100+" -cgi 1g.5gb,1g.5gb,1g.5gb+me", "ok"), gpuInstances(gpuA100, "gi7 gi8 gi9"),
				readFile(vfOf(gpuA100, 15, "creatable_vgpu_types"), creatableHead+"474   : NVIDIA A100-1-5C\n706   : NVIDIA A100-1-5CME\n"),
				readFile(vfOf(gpuA100, 0, "gpu_instance_id"), "ENXIO"), writeFile(vfOf(gpuA100, 0, "gpu_instance_id"), "8", "ENXIO"),
				setVF(gpuA100, 0, a100Slice, "ok"), readFile(vfOf(gpuA100, 0, "gpu_instance_id"), "7\n"), readFile(vfOf(gpuA100, 0, "placement_id"), "65535\n"),
				setVF(gpuA100, 1, a100TwoSlices, "EIO"), setVF(gpuA100, 1, a100Slice, "ok"), readFile(vfOf(gpuA100, 1, "gpu_instance_id"), "8\n"),
				setVF(gpuA100, 2, a100Slice, "EIO"), setVF(gpuA100, 2, a100SliceME, "ok"), readFile(vfOf(gpuA100, 2, "gpu_instance_id"), "9\n"),
				readFile(vfOf(gpuA100, 15, "creatable_vgpu_types"), creatableHead),
				smi("mig -i "+gpuA100+" -dgi -gi 8", "exit status 1"), setVF(gpuA100, 1, "0", "ok"),
				readFile(vfOf(gpuA100, 15, "creatable_vgpu_types"), creatableHead+"474   : NVIDIA A100-1-5C\n"),
				smi("mig -i "+gpuA100+" -dgi -gi 8", "ok"), gpuInstances(gpuA100, "gi7 gi9"), readFile(vfOf(gpuA100, 15, "creatable_vgpu_types"), creatableHead),
				smi("mig -i "+gpuA100+" -dgi -gi 8", "exit status 1"), smi("mig -i "+gpuA100+" -cgi 1g.5gb", "ok"), gpuInstances(gpuA100, "gi7 gi8 gi9"),
			)},
			{"another GPU instance", steps(
				sriovManage("-e", gpuA100), smi("mig -i "+gpuA100+" -cgi 1g.5gb,2g.10gb,1g.5gb,1g.5gb+me", "ok"), gpuInstances(gpuA100, "gi3 gi7 gi8 gi9"),
				setVF(gpuA100, 0, a100Slice, "ok"), setVF(gpuA100, 1, a100Slice, "ok"), moveVF(gpuA100, 0, "8", "EIO"), moveVF(gpuA100, 0, "3", "EIO"), moveVF(gpuA100, 0, "9", "EIO"),
				moveVF(gpuA100, 0, "7", "ok"), moveVF(gpuA100, 0, "4", "EINVAL"), moveVF(gpuA100, 0, "99", "EINVAL"), moveVF(gpuA100, 0, "4294967295", "EINVAL"),
				moveVF(gpuA100, 0, "x", "EINVAL"), moveVF(gpuA100, 0, "4294967296", "ERANGE"),
				setVF(gpuA100, 1, "0", "ok"), moveVF(gpuA100, 0, "8\n", "ok"), readFile(vfOf(gpuA100, 0, "gpu_instance_id"), "8\n"),
				setVF(gpuA100, 1, a100Slice, "ok"), readFile(vfOf(gpuA100, 1, "gpu_instance_id"), "7\n"),
				parityStep{"use", []string{pciFile(vfAt(gpuA100, 1), "")}, "ok"}, moveVF(gpuA100, 1, "7", "EPERM"),
				parityStep{"release", []string{pciFile(vfAt(gpuA100, 1), "")}, "ok"}, moveVF(gpuA100, 1, "7", "ok"),
			)},
			{"what fits", steps(
				sriovManage("-e", gpuA100), smi("mig -i "+gpuA100+" -cgi 3g.20gb,3g.20gb", "ok"), gpuInstances(gpuA100, "gi1 gi2"),
				smi("mig -i "+gpuA100+" -cgi 1g.5gb", "exit status 1"), smi("mig -i "+gpuA100+" -cgi 3g.21gb", "exit status 1"), // no memory; no profile
				smi("mig -i "+gpuA100+" -dgi -gi 1", "ok"), smi("mig -i "+gpuA100+" -cgi 4g.20gb,1g.5gb", "exit status 1"), gpuInstances(gpuA100, "gi1 gi2"), // the first was made
				smi("mig -i "+gpuA100+" -dgi -gi 2,1", "ok"), smi("mig -i "+gpuA100+" -cgi 1g.5gb+me,1g.5gb+me", "exit status 1"), gpuInstances(gpuA100, "gi7"),
				smi("mig -i "+gpuA100+" -cgi 7g.40gb", "exit status 1"), smi("mig -i "+gpuA100+" -dgi -gi 7", "ok"), smi("mig -i "+gpuA100+" -cgi 7g.40gb", "ok"), gpuInstances(gpuA100, "gi0"),
				readFile(vfOf(gpuA100, 15, "creatable_vgpu_types"), creatableHead+"478   : NVIDIA A100-7-40C\n"),
			)},
			{"in and out of MIG mode", steps(
				sriovManage("-e", gpuA100), smi("mig -i "+gpuA100+" -cgi 1g.5gb", "ok"), setVF(gpuA100, 0, a100Slice, "ok"), smi("-i "+gpuA100+" -mig 0", "exit status 1"),
				setVF(gpuA100, 0, "0", "ok"), smi("-i "+gpuA100+" -mig 0", "ok"), gpuInstances(gpuA100, ""), smi("mig -i "+gpuA100+" -cgi 1g.5gb", "exit status 1"),
				setVF(gpuA100, 0, a100Slice, "EIO"), setVF(gpuA100, 0, "472", "ok"), readFile(vfOf(gpuA100, 0, "gpu_instance_id"), "4294967295\n"), moveVF(gpuA100, 0, "7", "EINVAL"),
				readFile(vfOf(gpuA100, 1, "creatable_vgpu_types"), creatableHead+"472   : NVIDIA A100-20C\n"), smi("-i "+gpuA100+" -mig 1", "exit status 1"),
				setVF(gpuA100, 0, "0", "ok"), smi("-i "+gpuA100+" -mig 1", "ok"), gpuInstances(gpuA100, ""), readFile(vfOf(gpuA100, 1, "creatable_vgpu_types"), creatableHead),
				smi("mig -i "+gpuA100+" -cgi 1g.5gb", "ok"), sriovManage("-d", gpuA100), gpuInstances(gpuA100, ""),
				smi("mig -i "+gpuA100+" -cgi 1g.5gb", "ok"), gpuInstances(gpuA100, "gi7"), sriovManage("-e", gpuA100), gpuInstances(gpuA100, ""),
			)},
		},
	},
	{
		name: "rtx-pro-6000", sim: "rtx-pro-6000@" + gpuPro + ",mig,vfs=0", needs: "sys/bus/pci/devices/" + gpuPro + "/sriov_totalvfs",
		vfs: vfsOf(gpuPro, 0, 1, 2, 3, 47),
		cases: []parityCase{
			{"vGPUs share a GPU instance", steps(
				sriovManage("-e", gpuPro), smi("mig -i "+gpuPro+" -cgi 1g.24gb+gfx", "ok"), gpuInstances(gpuPro, "gi3"),
				setVF(gpuPro, 0, pro8Q, "ok"), setVF(gpuPro, 1, pro12Q, "EIO"), setVF(gpuPro, 1, pro8A, "ok"),
				readFile(vfOf(gpuPro, 47, "creatable_vgpu_types"), creatableHead+proLine(pro8Q, "1-8Q")+proLine(pro8A, "1-8A")+proLine("1563", "1-8C")),
				setVF(gpuPro, 2, pro8Q, "ok"), readFile(vfOf(gpuPro, 2, "gpu_instance_id"), "3\n"), setVF(gpuPro, 3, pro8Q, "EIO"),
				readFile(vfOf(gpuPro, 47, "creatable_vgpu_types"), creatableHead),
				setVF(gpuPro, 0, "0", "ok"), setVF(gpuPro, 3, pro8Q, "ok"), setVF(gpuPro, 0, pro8Q, "EIO"),
			)},
			{"one size in each GPU instance", steps(
				sriovManage("-e", gpuPro), smi("mig -i "+gpuPro+" -cgi 1g.24gb+gfx,1g.24gb+gfx,2g.48gb+gfx", "ok"), gpuInstances(gpuPro, "gi1 gi3 gi4"),
				setVF(gpuPro, 0, pro12Q, "ok"), setVF(gpuPro, 1, pro12Q, "ok"), setVF(gpuPro, 2, pro8Q, "ok"), readFile(vfOf(gpuPro, 2, "gpu_instance_id"), "4\n"),
				setVF(gpuPro, 3, pro12Q, "EIO"), setVF(gpuPro, 3, pro96Q, "EIO"), setVF(gpuPro, 3, pro2s24Q, "ok"), readFile(vfOf(gpuPro, 3, "gpu_instance_id"), "1\n"),
				moveVF(gpuPro, 2, "3", "EIO"), moveVF(gpuPro, 2, "1", "EIO"), moveVF(gpuPro, 2, "5", "EINVAL"), setVF(gpuPro, 0, "0", "ok"), setVF(gpuPro, 1, "0", "ok"),
				moveVF(gpuPro, 2, "3", "ok"), smi("mig -i "+gpuPro+" -dgi -gi 3", "exit status 1"), smi("mig -i "+gpuPro+" -dgi -gi 4", "ok"), gpuInstances(gpuPro, "gi1 gi3"),
			)},
			{"GPU instances with and without graphics", steps(
				sriovManage("-e", gpuPro), smi("mig -i "+gpuPro+" -cgi 1g.24gb,1g.24gb+me,1g.24gb-me,1g.24gb+me.all", "ok"), gpuInstances(gpuPro, "gi3 gi4 gi5 gi6"),
				readFile(vfOf(gpuPro, 0, "creatable_vgpu_types"), creatableHead), setVF(gpuPro, 0, pro8Q, "EIO"),
				smi("mig -i "+gpuPro+" -cgi 1g.24gb+gfx", "exit status 1"), smi("mig -i "+gpuPro+" -dgi -gi 4", "ok"), smi("mig -i "+gpuPro+" -cgi 1g.24gb+gfx", "ok"),
				setVF(gpuPro, 0, pro8Q, "ok"), readFile(vfOf(gpuPro, 0, "gpu_instance_id"), "4\n"), smi("mig -i "+gpuPro+" -dgi -gi 3,4", "exit status 1"), gpuInstances(gpuPro, "gi4 gi5 gi6"),
			)},
			{"out of MIG mode", steps(
				sriovManage("-e", gpuPro), smi("-i "+gpuPro+" -mig 0", "ok"), setVF(gpuPro, 0, pro8Q, "EIO"), setVF(gpuPro, 0, pro96Q, "ok"), setVF(gpuPro, 1, "1544", "EIO"),
				setVF(gpuPro, 0, "0", "ok"), setVF(gpuPro, 0, "1540", "ok"), setVF(gpuPro, 1, "1542", "ok"), setVF(gpuPro, 2, "1540", "EIO"),
			)},
		},
	},
}

const creatableHead = "ID    : vGPU Name\n"

func proLine(id, name string) string {
	return fmt.Sprintf("%-5s : NVIDIA RTX Pro 6000 Blackwell DC-%s\n", id, name)
}

// vfAt is the address of a GPU's virtual function; NVIDIA's begin with 00.4.
func vfAt(gpu string, n int) string {
	return fmt.Sprintf("%s%02x.%d", strings.TrimSuffix(gpu, "00.0"), (n+4)>>3, (n+4)&7)
}

func vfsOf(gpu string, numbers ...int) (addresses []string) {
	for _, n := range numbers {
		addresses = append(addresses, vfAt(gpu, n))
	}
	return addresses
}

func vfOf(gpu string, n int, file string) string { return pciFile(vfAt(gpu, n), "nvidia/"+file) }

func setVF(gpu string, n int, typ, want string) parityStep {
	return writeFile(vfOf(gpu, n, "current_vgpu_type"), typ, want)
}

func moveVF(gpu string, n int, instance, want string) parityStep {
	return writeFile(vfOf(gpu, n, "gpu_instance_id"), instance, want)
}

// smi is what the operator does.
func smi(args, want string) parityStep {
	return parityStep{"run", append([]string{"usr/bin/nvidia-smi"}, strings.Fields(args)...), want}
}

// gpuInstances are those that the driver shows of a GPU.
func gpuInstances(gpu, want string) parityStep { return parityStep{"instances", []string{gpu}, want} }

const procNVIDIA = "proc/driver/nvidia/"

// gpuInstances reads the access files of a GPU's instances. Their numbers depend on how many
// GPUs there are before it.
func (r *parityRun) gpuInstances(gpu string) string {
	information, err := r.side.ReadFile(procNVIDIA + "gpus/" + gpu + "/information")
	if err != nil {
		return errnoName(err)
	}
	minor := 0
	for line := range strings.Lines(string(information)) {
		if _, err := fmt.Sscanf(line, "Device Minor: %d", &minor); err == nil {
			break
		}
	}
	dir := fmt.Sprintf("%scapabilities/gpu%d/mig", procNVIDIA, minor)
	entries, err := r.side.ReadDir(dir)
	if err != nil {
		return errnoName(err)
	}
	var names []string
	for _, e := range entries {
		var id int
		if _, err := fmt.Sscanf(e.Name(), "gi%d", &id); err != nil {
			return e.Name() + " is no GPU instance"
		}
		access, err := r.side.ReadFile(dir + "/" + e.Name() + "/access")
		if err != nil {
			return errnoName(err)
		}
		if want := fmt.Sprintf("DeviceFileMinor: %d\nDeviceFileMode: 292\nDeviceFileModify: 1\n", 3+9*id+128*minor); string(access) != want {
			return fmt.Sprintf("%s/access says %q, not %q", e.Name(), access, want)
		}
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
