//go:build integration

package integration

import "strings"

const (
	mttyTypes = "sys/class/mdev_bus/mtty/mdev_supported_types/"
	someUUID  = "abcdef00-1111-4222-8333-0123456789ab"
)

// parityBoards is the table.
var parityBoards = append([]parityBoard{
	{
		name: "mtty", sim: "mtty", needs: "sys/class/mdev_bus/mtty", inLab: true, parent: "mtty", driver: "mtty",
		cases: []parityCase{
			{"life", steps(
				available("mtty-1", "24"), available("mtty-2", "12"),
				create("mtty-2", "1", "ok"), available("mtty-1", "22"), available("mtty-2", "11"),
				create("mtty-1", "2", "ok"), available("mtty-1", "21"), available("mtty-2", "10"),
				readFile(deviceFile("1", "vendor/sample_mdev_dev"), "This is MDEV "+parityID("1")+"\n"),
				remove("1", "1", "ok"), available("mtty-2", "11"), remove("2", "1\n", "ok"), available("mtty-1", "24"),
			)},
			{"what create takes", steps(
				createRaw("mtty-1", someUUID, "ok"), createRaw("mtty-1", someUUID, "EEXIST"),
				createRaw("mtty-1", strings.ToUpper(someUUID), "EEXIST"),
				createRaw("mtty-1", parityID("1")+"\n", "ok"), createRaw("mtty-1", parityID("2")+"x", "ok"),
				createRaw("mtty-1", parityID("3")+"\n\n", "EINVAL"), createRaw("mtty-1", parityID("3")[:35], "EINVAL"),
				createRaw("mtty-1", "{"+parityID("3")[:34]+"}", "EINVAL"), createRaw("mtty-1", strings.ReplaceAll(parityID("3"), "-", "0"), "EINVAL"),
				createRaw("mtty-1", "g"+parityID("3")[1:], "EINVAL"), createRaw("mtty-1", "\n", "EINVAL"), createRaw("mtty-1", "", "ok"),
				createRaw("mtty-1", strings.Repeat("0", 5000), "EINVAL"),
			)},
			{"what remove takes", steps(
				create("mtty-1", "1", "ok"), remove("1", "0", "ok"), remove("1", "", "ok"), remove("1", "\n", "EINVAL"),
				remove("1", "yes", "EINVAL"), remove("1", "-1", "EINVAL"), remove("1", "1\n\n", "EINVAL"), remove("1", "0x", "EINVAL"),
				remove("1", "08", "EINVAL"), remove("1", "99999999999999999999", "EINVAL"), remove("1", " 1", "EINVAL"),
				remove("1", "0x10", "ok"), remove("1", "1", "ENOENT"),
				create("mtty-1", "1", "ok"), remove("1", "+1", "ok"), create("mtty-1", "1", "ok"), remove("1", "010", "ok"),
			)},
			{"exhausted", steps(
				fill("mtty-2", 100, 12), available("mtty-1", "0"), available("mtty-2", "0"),
				create("mtty-2", "1", "ENOSPC"), create("mtty-1", "1", "ENOSPC"), create("mtty-2", "100", "EEXIST"),
				remove("105", "1", "ok"), create("mtty-1", "1", "ok"), available("mtty-1", "1"), available("mtty-2", "0"),
				create("mtty-2", "2", "ENOSPC"), create("mtty-1", "2", "ok"),
			)},
			{"what the files allow", steps(
				create("mtty-1", "1", "ok"),
				readFile(mttyTypes+"mtty-1/create", "EACCES"), writeFile(mttyTypes+"mtty-1/name", "x", "EACCES"),
				readFile(mttyTypes+"mtty-1/description", "ENOENT"), readFile(mttyTypes+"mtty-1", "EISDIR"),
				readFile(mttyTypes+"mtty-3/name", "ENOENT"), writeFile(mttyTypes+"mtty-1/available_instances", "5", "EACCES"),
				readFile(mttyTypes+"mtty-1/name/x", "ENOTDIR"), readFile(deviceFile("1", "remove"), "EACCES"),
				readFile(deviceFile("1", "mdev_type/name"), "Single port serial\n"), writeFile(deviceFile("1", "vendor/sample_mdev_dev"), "x", "EACCES"),
				readFile("sys/class/mdev_bus/mtty/../../mtty/mtty/mdev_supported_types/mtty-2/name", "Dual port serial\n"),
				readFile("sys/class/mtty/mtty/mdev_supported_types/mtty-2/name", "Dual port serial\n"),
			)},
			{"group held", steps(
				create("mtty-2", "1", "ok"), openGroup("1", "ok"), openGroup("1", "EBUSY"), use("1", "EBUSY"),
				remove("1", "1", "ok"), create("mtty-2", "1", "ok"), closeGroup("1"), remove("1", "1", "ok"),
			)},
			{"remove in use", removeInUse("mtty-2", "mtty-1", "22", "24")},
			{"used again", steps(
				create("mtty-1", "1", "ok"), use("1", "ok"), use("1", "EBUSY"), openGroup("1", "EBUSY"), release("1"),
				use("1", "ok"), release("1"), openGroup("1", "ok"), closeGroup("1"), remove("1", "1", "ok"),
			)},
		},
	},
	{
		name: "mdpy", sim: "mdpy", needs: "sys/class/mdev_bus/mdpy", inLab: true, parent: "mdpy", driver: "mdpy",
		cases: []parityCase{
			{"life", steps(
				available("mdpy-vga", "4"), create("mdpy-xga", "1", "ok"), available("mdpy-vga", "3"), available("mdpy-hd", "3"),
				readFile(deviceFile("1", "vendor/resolution"), "1024x768\n"), create("mdpy-vga", "2", "ok"), create("mdpy-hd", "3", "ok"),
				create("mdpy-hd", "1", "EEXIST"), remove("1", "1", "ok"), available("mdpy-vga", "2"),
			)},
			{"exhausted", steps(
				fill("mdpy-hd", 100, 4), available("mdpy-vga", "0"), create("mdpy-vga", "1", "EUSERS"), create("mdpy-vga", "100", "EEXIST"),
				createRaw("mdpy-vga", "nonsense", "EINVAL"), remove("100", "1", "ok"), create("mdpy-vga", "1", "ok"),
			)},
			{"remove in use", removeInUse("mdpy-xga", "mdpy-hd", "3", "4")},
		},
	},
	{
		name: "mbochs", sim: "mbochs", needs: "sys/class/mdev_bus/mbochs", inLab: true, parent: "mbochs", driver: "mbochs",
		cases: []parityCase{
			{"life", steps(
				available("mbochs-small", "64"), available("mbochs-medium", "16"), available("mbochs-large", "4"),
				create("mbochs-medium", "1", "ok"), available("mbochs-small", "60"), available("mbochs-medium", "15"), available("mbochs-large", "3"),
				readFile(deviceFile("1", "vendor/memory"), "16 MB\n"), remove("1", "1", "ok"), available("mbochs-large", "4"),
			)},
			{"exhausted", steps(
				fill("mbochs-large", 100, 3), fill("mbochs-medium", 200, 3), available("mbochs-large", "0"), available("mbochs-medium", "1"), available("mbochs-small", "4"),
				create("mbochs-large", "1", "ENOSPC"), create("mbochs-medium", "1", "ok"), create("mbochs-small", "2", "ENOSPC"),
			)},
			{"remove in use", removeInUse("mbochs-large", "mbochs-small", "48", "64")},
		},
	},
	{
		name: "tesla-m60", sim: "tesla-m60@0000:05:00.0", needs: "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-22", parent: "0000:05:00.0", driver: "nvidia-vgpu-vfio",
		cases: []parityCase{
			{"sizes exclude each other", steps(
				available("nvidia-22", "1"), available("nvidia-18", "4"), available("nvidia-11", "16"),
				create("nvidia-18", "1", "ok"), available("nvidia-22", "0"), available("nvidia-17", "3"), available("nvidia-210", "3"), available("nvidia-11", "0"),
				create("nvidia-22", "2", "EIO"), create("nvidia-17", "2", "ok"), create("nvidia-18", "1", "EEXIST"),
				remove("1", "1", "ok"), remove("2", "1", "ok"), create("nvidia-22", "2", "ok"), create("nvidia-22", "3", "EIO"),
			)},
			{"exhausted", steps(fill("nvidia-19", 100, 2), available("nvidia-20", "0"), create("nvidia-20", "1", "EIO"), remove("100", "1", "ok"), create("nvidia-20", "1", "ok"))},
			{"parameters", steps(
				create("nvidia-22", "1", "ok"), readFile(deviceFile("1", "nvidia/vgpu_params"), "\n"), readFile(deviceFile("1", "nvidia/vm_name"), "\n"),
				writeFile(deviceFile("1", "nvidia/vgpu_params"), "disable_vnc=1,frame_rate_limiter=0\n", "ok"),
				readFile(deviceFile("1", "nvidia/vgpu_params"), "disable_vnc=1,frame_rate_limiter=0\n"),
				writeFile(deviceFile("1", "nvidia/vgpu_params"), "enable_uvm=1", "ok"), readFile(deviceFile("1", "nvidia/vgpu_params"), "enable_uvm=\n"),
				writeFile(deviceFile("1", "nvidia/vgpu_params"), strings.Repeat("x", 1025), "E2BIG"), writeFile(deviceFile("1", "nvidia/vgpu_params"), " \n", "ok"),
				readFile(deviceFile("1", "nvidia/vgpu_params"), "\n"), use("1", "ok"), readFile(deviceFile("1", "nvidia/vm_name"), parityVM+"\n"),
				writeFile(deviceFile("1", "nvidia/vgpu_params"), "disable_vnc=1\n", "EPERM"), release("1"), readFile(deviceFile("1", "nvidia/vm_name"), "\n"),
			)},
			{"remove in use", removeInUse("nvidia-18", "nvidia-17", "3", "4")},
		},
	},
	{
		name: "a40", sim: "a40@0000:41:00.0,vfs=0", needs: "sys/bus/pci/devices/0000:41:00.0/sriov_totalvfs", parent: "0000:41:00.4", driver: "nvidia-vgpu-vfio",
		cases: []parityCase{
			{"virtual functions", steps(
				readFile(pciFile("0000:41:00.0", "sriov_numvfs"), "0\n"), readFile(pciFile("0000:41:00.0", "sriov_totalvfs"), "32\n"),
				writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "33", "ERANGE"), writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "x", "EINVAL"),
				writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "0", "ok"), writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "4", "ENOENT"),
				sriovManage("-e", "0000:41:00.0"), readFile(pciFile("0000:41:00.0", "sriov_numvfs"), "32\n"),
				writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "4", "EBUSY"), writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "32", "ok"),
				writeFile(pciFile("0000:41:00.0", "sriov_numvfs"), "0", "ENOENT"),
				readFile(pciFile("0000:41:00.0", "virtfn31/device"), "0x2235\n"), readFile(pciFile("0000:41:04.3", "physfn/device"), "0x2235\n"),
				available("nvidia-566", "1"), create("nvidia-566", "1", "ok"), available("nvidia-566", "0"), available("nvidia-558", "0"),
				create("nvidia-566", "2", "EIO"), readFile("sys/class/mdev_bus/0000:41:04.3/mdev_supported_types/nvidia-566/available_instances", "0\n"),
				remove("1", "1", "ok"), readFile("sys/class/mdev_bus/0000:41:04.3/mdev_supported_types/nvidia-566/available_instances", "1\n"),
				create("nvidia-558", "1", "ok"), readFile("sys/class/mdev_bus/0000:41:04.3/mdev_supported_types/nvidia-558/available_instances", "1\n"),
				readFile("sys/class/mdev_bus/0000:41:04.3/mdev_supported_types/nvidia-562/available_instances", "0\n"),
				remove("1", "1", "ok"), sriovManage("-d", "0000:41:00.0"), readFile(pciFile("0000:41:00.0", "sriov_numvfs"), "0\n"),
			)},
		},
	},
	{
		name: "l40s", sim: "l40s@0000:61:00.0,vfs=0", needs: "sys/bus/pci/devices/0000:61:00.0/sriov_totalvfs",
		vfs: []string{"0000:61:00.4", "0000:61:00.5", "0000:61:04.3"},
		cases: []parityCase{
			{"types of virtual functions", steps(
				sriovManage("-e", "0000:61:00.0"), readFile(vfFile("current_vgpu_type"), "0\n"),
				readFile(vfFile("placement_id"), "ENXIO"), readFile(vfFile("gpu_instance_id"), "ENXIO"), readFile(vfFile("vgpu_params"), "ENXIO"),
				writeFile(vfFile("vgpu_params"), "disable_vnc=1\n", "ENXIO"), writeFile(vfFile("placement_id"), "0", "ENXIO"),
				writeFile(vfFile("current_vgpu_type"), "x", "EINVAL"), writeFile(vfFile("current_vgpu_type"), "99999999999", "ERANGE"),
				writeFile(vfFile("current_vgpu_type"), "0", "EPERM"), writeFile(vfFile("current_vgpu_type"), "7", "EIO"),
				parityStep{"use", []string{pciFile("0000:61:00.4", "")}, "ENODEV"},
				writeFile(vfFile("current_vgpu_type"), "1148\n", "ok"), readFile(vfFile("current_vgpu_type"), "1148\n"),
				readFile(vfFile("creatable_vgpu_types"), "ID    : vGPU Name\n"), writeFile(vfFile("current_vgpu_type"), "1148", "EPERM"),
				readFile(vf2File("creatable_vgpu_types"), "ID    : vGPU Name\n1146  : NVIDIA L40S-2B\n1148  : NVIDIA L40S-2Q\n1158  : NVIDIA L40S-2A\n"),
				writeFile(vf2File("current_vgpu_type"), "1147", "EIO"), readFile(vfFile("gpu_instance_id"), "4294967295\n"), readFile(vfFile("placement_id"), "65535\n"),
				writeFile(vfFile("vgpu_params"), "disable_vnc=1\n", "ok"), readFile(vfFile("vgpu_params"), "disable_vnc=1\n"),
				parityStep{"use", []string{pciFile("0000:61:00.4", "")}, "ok"}, writeFile(vfFile("current_vgpu_type"), "0", "EPERM"),
				writeFile(vfFile("vgpu_params"), "\n", "EPERM"), parityStep{"release", []string{pciFile("0000:61:00.4", "")}, "ok"},
				writeFile(vfFile("current_vgpu_type"), "0", "ok"), readFile(vfFile("vgpu_params"), "ENXIO"),
				sriovManage("-d", "ALL"),
			)},
			{"no MIG", steps(
				gpuInstances(gpuL40S, ""), smi("-i "+gpuL40S+" -mig 1", "exit status 1"), smi("mig -i "+gpuL40S+" -cgi 1g.5gb", "exit status 1"),
				readFile(procNVIDIA+"capabilities/mig/config", "DeviceFileMinor: 1\nDeviceFileMode: 256\nDeviceFileModify: 1\n"),
				readFile(procNVIDIA+"capabilities/mig/monitor", "DeviceFileMinor: 2\nDeviceFileMode: 292\nDeviceFileModify: 1\n"),
			)},
		},
	},
}, parityMIG...)

func pciFile(address, file string) string { return "sys/bus/pci/devices/" + address + "/" + file }
func vfFile(file string) string           { return pciFile("0000:61:00.4", "nvidia/"+file) }
func vf2File(file string) string          { return pciFile("0000:61:00.5", "nvidia/"+file) }

func sriovManage(flag, which string) parityStep {
	return parityStep{"run", []string{"usr/lib/nvidia/sriov-manage", flag, which}, "ok"}
}

// removeInUse is the removal of a device that a VM has open: it blocks, the
// device leaves the bus, and its instance stays counted, seen through another
// type.
func removeInUse(typ, other, left, all string) []parityStep {
	return steps(
		create(typ, "1", "ok"), use("1", "ok"), available(other, left),
		removeBlocks("1"), available(other, left), create(typ, "1", "EEXIST"),
		readFile("sys/bus/mdev/devices/"+parityID("1")+"/uevent", "ENOENT"),
		release("1"), removeEnds("1", "ok"), available(other, all),
		create(typ, "1", "ok"), remove("1", "1", "ok"),
	)
}
