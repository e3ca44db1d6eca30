package parity

import "github.com/vgpukit/vgpukit/domain"

var saveRows = []Row{
	{"managed save", []Step{
		define(a), managedSave("a"), hasManagedSave("a"), managedSaveRemove("a"), start("a"), hasManagedSave("a"), managedSave("a"), managedSave("a"),
		start("a"), managedSave("a"), managedSaveRemove("a"), managedSaveRemove("a"), start("a"), destroy("a"),
	}},
	{"managed save of what is paused", []Step{define(a), start("a"), suspend("a"), managedSave("a"), start("a"), resume("a")}},
	{"managed save, then defined otherwise", []Step{
		define(a.Title("first")), start("a"), managedSave("a"), define(a.Title("second")), start("a"), look("a"), destroy("a"), look("a"), start("a"), look("a"),
	}},
	{"destroy after a managed save", []Step{define(a), start("a"), managedSave("a"), destroy("a"), suspend("a"), start("a"), destroy("a"), start("a")}},
	{"save and restore", []Step{
		define(a.Title("first")), save("a", "memory"), start("a"), save("a", "memory"), restore("memory"), restore("memory"), save("a", "memory"),
		define(a.Title("second")), restore("memory"), look("a"), destroy("a"), look("a"), restore("nothing"),
		undefine("a"), restore("memory"), look("a"), destroy("a"),
		define(a.UUID("b")), restore("memory"),
	}},
	{"restore with another document", []Step{
		define(a.Title("first")), start("a"), save("a", "memory"), restoreWith("memory", a.Title("second")), look("a"), destroy("a"),
		restoreWith("memory", Doc("b")), restoreWith("memory", a.UUID("b")),
	}},
	{"managed save with a vGPU", []Step{
		makes("1"), define(a.VGPU("1")), start("a"), managedSave("a"), save("a", "memory"),
	}},
	{"managed save with a vGPU whose driver saves nothing", []Step{
		makesOn("mdpy", "1"), define(a.VGPU("1")), start("a"), managedSave("a"), destroy("a"), define(a.Movable("1")), start("a"), managedSave("a"),
	}},
	{"managed save with a movable vGPU", []Step{
		makes("1"), define(a.Movable("1")), start("a"), look("a"), managedSave("a"), start("a"), managedSave("a"), removes("1"), start("a"), hasManagedSave("a"),
		makes("1"), holds("1"), start("a"), releases("1"), start("a"), destroy("a"),
	}},
	{"managed save, and another has the vGPU", []Step{
		makes("1"), define(a.Movable("1")), define(Doc("b").VGPU("1")), start("a"), managedSave("a"), start("b"), start("a"), destroy("b"), start("a"),
	}},
	{"save and restore with a movable vGPU", []Step{
		makes("1"), define(a.Movable("1")), start("a"), save("a", "memory"), removes("1"), restore("memory"), makes("1"), restore("memory"), destroy("a"),
		makes("2"), restoreWith("memory", a.Movable("2")), look("a"), destroy("a"),
	}},
}

var snapshotRows = []Row{
	{"snapshot and revert", []Step{
		disk(), define(a.Disk().Title("first")), snapshot("a", "s"), snapshot("a", "s"), define(a.Disk().Title("second")), look("a"), revert("a", "s"), look("a"),
		revert("a", "t"), undefine("a"), undefineWith("a", "with snapshots", domain.UndefineOptions{SnapshotsMetadata: true}), define(a.Disk()),
	}},
	{"snapshot of what runs", []Step{disk(), define(a.Disk()), start("a"), snapshot("a", "s"), destroy("a")}},
	{"revert what runs to when it was off", []Step{
		disk(), define(a.Disk().Title("first")), snapshot("a", "s"), define(a.Disk().Title("second")), start("a"), revert("a", "s"), look("a"), start("a"),
	}},
	{"revert to a vGPU", []Step{
		disk(), makes("1"), makes("2"), define(a.Disk().VGPU("1")), snapshot("a", "s"), define(a.Disk().VGPU("2")), revert("a", "s"), look("a"), start("a"),
		metadata("a", "1", both), destroy("a"), metadata("a", "2", saved), revert("a", "s"), look("a"),
	}},
	{"revert to when it ran", []Step{
		disk(), define(a.Disk().Title("first")), start("a"), snapshot("a", "s"), revert("a", "s"), define(a.Disk().Title("second")), destroy("a"), revert("a", "s"), look("a"),
		destroy("a"), look("a"),
	}},
	{"revert to when it was paused", []Step{disk(), define(a.Disk()), start("a"), suspend("a"), snapshot("a", "s"), resume("a"), revert("a", "s"), resume("a")}},
	{"snapshot of what runs with a movable vGPU", []Step{
		disk(), makes("1"), makes("2"), define(a.Disk().Movable("1")), start("a"), snapshot("a", "s"), destroy("a"), removes("1"), revert("a", "s"), makes("1"), revert("a", "s"), look("a"),
		define(a.Disk().Movable("2")), define(Doc("b").VGPU("1")), destroy("a"), start("b"), revert("a", "s"),
	}},
	{"snapshot of what runs with a vGPU", []Step{disk(), makes("1"), define(a.Disk().VGPU("1")), start("a"), snapshot("a", "s")}},
	{"snapshot of what is transient", []Step{disk(), create(a.Disk()), snapshot("a", "s"), destroy("a")}},
	{"snapshot with a managed save", []Step{disk(), define(a.Disk()), snapshot("a", "s"), start("a"), managedSave("a"), snapshot("a", "t"), revert("a", "s")}},
}

var startRows = []Row{
	{"start with a vGPU", []Step{
		makes("1"), define(a.VGPU("1")), start("a"), look("a"), removes("1"), suspend("a"), removes("1"), destroy("a"), removes("1"),
	}},
	{"start with two vGPUs", []Step{
		makes("1"), makes("2"), define(a.VGPU("1").VGPU("2")), start("a"), look("a"), terminate("a"), removes("2"), start("a"), makes("2"), start("a"), crash("a").Until("a stopped failed"), start("a"),
	}},
	{"start without the vGPU", []Step{define(a.VGPU("1")), start("a"), makes("1"), start("a")}},
	{"start with a vGPU that another VM has", []Step{
		makes("1"), define(a.VGPU("1")), define(Doc("b").VGPU("1")), start("a"), start("b"), create(Doc("c").VGPU("1")), terminate("a"), start("b"), crash("b").Until("b stopped failed"), start("a"),
	}},
	{"start with a vGPU that a process has", []Step{
		makes("1"), define(a.VGPU("1")), holds("1"), start("a"), create(Doc("b").VGPU("1")), releases("1"), start("a"),
	}},
	{"start with the second vGPU in use", []Step{
		makes("1"), makes("2"), define(a.VGPU("2")), define(Doc("b").VGPU("1").VGPU("2")), start("a"), start("b"), removes("1"), destroy("a"),
	}},
	{"start with another bus's vGPU", []Step{
		makes("1"), define(a.Hostdev("model vfio-ap", "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")), start("a"),
		define(a.Hostdev("model vfio-ccw", "<hostdev mode='subsystem' type='mdev' model='vfio-ccw'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")), start("a"),
	}},
	{"start with a virtual function that is not there", []Step{
		define(a.VF("0000:99:00.4")), start("a"), create(Doc("b").VF("0000:99:00.4")),
	}},
	{"start with a vGPU twice", []Step{makes("1"), define(a.VGPU("1").VGPU("1")), start("a")}},
	{"a guest with a vGPU turns itself off", []Step{
		makes("1"), define(a.VGPU("1")), start("a"), boots("a"), powerOff("a").Until("a stopped shutdown"), removes("1"),
	}},
}

var attachRows = []Row{
	{"attach and detach while it is off", []Step{
		define(a), attach("a", "1", live), attach("a", "1", both), attach("a", "1", saved), look("a"), attach("a", "1", saved), attach("a", "2", saved), look("a"),
		detach("a", "1", live), detach("a", "1", both), detach("a", "1", saved), look("a"), detach("a", "1", saved), start("a"),
	}},
	{"attach while it runs", []Step{
		makes("1"), makes("2"), define(a.Deaf().Ports(4)), start("a"), attach("a", "1", both), look("a"), attach("a", "1", both), attach("a", "1", live),
		attach("a", "2", live), look("a"), destroy("a"), look("a"), start("a"), look("a"),
	}},
	{"attach for the next start", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), attach("a", "1", saved), look("a"), attach("a", "1", saved), destroy("a"), start("a"), look("a"),
	}},
	{"attach without a free slot", []Step{makes("1"), define(a.Deaf()), start("a"), attach("a", "1", live), attach("a", "1", both), look("a"), removes("1")}},
	{"attach what is not there", []Step{define(a.Deaf().Ports(4)), start("a"), attach("a", "1", live), attach("a", "1", both), look("a")}},
	{"attach what is in use", []Step{
		makes("1"), makes("2"), define(a.Deaf().Ports(4)), define(Doc("b").VGPU("1")), start("b"), start("a"), attach("a", "1", live),
		holds("2"), attach("a", "2", live), releases("2"), attach("a", "2", live), look("a"), destroy("b"), attach("a", "1", live), look("a"),
	}},
	{"attach what is no device", []Step{
		define(a.Deaf().Ports(4)), attachXML("a", "not XML", "<hostdev", saved), attachXML("a", "a teapot", "<teapot/>", saved), attachXML("a", "nothing", " ", saved), attachXML("a", "no scope", vgpuXML("1", ""), 0),
	}},
	{"detach from a deaf guest", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), attach("a", "1", both), detach("a", "1", both), look("a"), detach("a", "1", both), look("a"),
		reset("a").Until("a device-removed hostdev0"), look("a"), detach("a", "1", both), look("a"), detach("a", "1", live), removes("1"),
	}},
	{"detach for the next start", []Step{
		makes("1"), define(a.VGPU("1")), start("a"), detach("a", "1", saved), look("a"), detach("a", "1", saved), destroy("a"), look("a"), start("a"), look("a"),
	}},
	{"detach what was not attached", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), detach("a", "1", live), detach("a", "1", both), detach("a", "1", saved), detachXML("a", "hostdev0", "hostdev0", live), detachXML("a", "not XML", "<hostdev", live),
	}},
	{"attach to what is paused", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), suspend("a"), attach("a", "1", live), look("a"), resume("a"),
	}},
	{"attach to what is transient", []Step{
		makes("1"), makes("2"), create(a.Deaf().Ports(4)), attach("a", "1", saved), attach("a", "1", both), attach("a", "1", live), look("a"), destroy("a"), removes("1"),
	}},
	{"attach with an alias", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), attachXML("a", "vGPU 1 as ua-vgpu", vgpuXML("1", "<alias name='ua-vgpu'/>"), both), look("a"),
		detachXML("a", "ua-vgpu", "ua-vgpu", both), reset("a").Until("a device-removed ua-vgpu"), look("a"), detachXML("a", "ua-vgpu", "ua-vgpu", both), look("a"),
	}},
	{"terminate while a detach waits", []Step{
		makes("1"), define(a.Deaf().Ports(4)), start("a"), attach("a", "1", both), detach("a", "1", both), terminate("a"), look("a"), removes("1"),
	}},
}
