package parity

// The boards of these rows, and what is made on them.
const (
	M60  = "0000:05:00.0"
	L40S = "0000:61:00.0"

	firstVF, secondVF = "0000:61:00.4", "0000:61:00.5"
)

// NVIDIA's boards of both frameworks: the GPU makes mdevs, or its virtual functions are
// the vGPUs once they have a type.
var nvidiaRows = []Row{
	{"start with a virtual function", []Step{
		define(a.VF(firstVF)), start("a"), makesVF(firstVF), start("a"), look("a"), removesVF(firstVF), destroy("a"), removesVF(firstVF), start("a"),
	}},
	{"start with a virtual function that another VM has", []Step{
		makesVF(firstVF), define(a.VF(firstVF)), define(Doc("b").VF(firstVF)), start("a"), start("b"), create(Doc("c").VF(firstVF)), crash("a").Until("a stopped failed"), start("b"),
	}},
	{"start with a virtual function that a process has", []Step{
		makesVF(firstVF), define(a.VF(firstVF)), holdsVF(firstVF), start("a"), releases(firstVF), start("a"),
	}},
	{"start with two virtual functions", []Step{
		makesVF(firstVF), define(a.VF(firstVF).VF(secondVF)), start("a"), makesVF(secondVF), start("a"), look("a"), terminate("a"),
	}},
	{"define a virtual function twice", []Step{define(a.VF(firstVF).VF(firstVF))}},
	{"attach and detach a virtual function", []Step{
		define(a.Deaf().Ports(4)), start("a"), attachXML("a", firstVF, vfXML(firstVF), live), makesVF(firstVF), attachXML("a", firstVF, vfXML(firstVF), both), look("a"),
		attachXML("a", firstVF, vfXML(firstVF), live), attachXML("a", firstVF, vfXML(firstVF), saved),
		define(Doc("b").VF(firstVF)), start("b"), detachXML("a", firstVF, vfXML(firstVF), both), reset("a").Until("a device-removed hostdev0"), look("a"),
		detachXML("a", firstVF, vfXML(firstVF), both), look("a"), start("b"), attachXML("a", firstVF, vfXML(firstVF), live), destroy("b"),
		holdsVF(firstVF), attachXML("a", firstVF, vfXML(firstVF), live), releases(firstVF),
	}},
	{"managed save with a virtual function", []Step{
		makesVF(firstVF), define(a.VF(firstVF)), start("a"), managedSave("a"), save("a", "memory"),
	}},
	{"managed save with a movable virtual function", []Step{
		makesVF(firstVF), define(a.MovableVF(firstVF)), start("a"), managedSave("a"), start("a"), managedSave("a"), removesVF(firstVF), start("a"), makesVF(firstVF), start("a"),
	}},
	{"start with an M60's vGPU", []Step{
		makesOn(M60, "1"), define(a.VGPU("1")), start("a"), look("a"), removes("1"), define(Doc("b").VGPU("1")), start("b"), destroy("a"), removes("1"), start("b"),
	}},
	{"start with an M60's vGPU that a process has", []Step{
		makesOn(M60, "1"), define(a.VGPU("1")), holds("1"), start("a"), releases("1"), start("a"),
	}},
	{"managed save with an M60's vGPU", []Step{
		makesOn(M60, "1"), define(a.VGPU("1")), start("a"), managedSave("a"), save("a", "memory"),
	}},
	{"snapshot of what runs with an M60's vGPU", []Step{disk(), makesOn(M60, "1"), define(a.Disk().VGPU("1")), start("a"), snapshot("a", "s")}},
	{"attach an M60's vGPU", []Step{
		makesOn(M60, "1"), define(a.Deaf().Ports(4)), start("a"), attach("a", "1", both), look("a"), detach("a", "1", both), destroy("a"), start("a"), look("a"),
	}},
}
