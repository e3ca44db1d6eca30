package parity

import "github.com/vgpukit/vgpukit/domain"

// Rows are the table.
func Rows() []Row {
	var rows []Row
	for _, part := range [][]Row{definitionRows, lifeRows, transientRows, nameRows, metadataRows, saveRows, snapshotRows, startRows, attachRows, nvidiaRows} {
		rows = append(rows, part...)
	}
	return rows
}

var a = Doc("a")

var definitionRows = []Row{
	{"define and undefine", []Step{
		define(a.Title("first")), look("a"), define(a.Title("second")), look("a"),
		undefine("a"), undefine("a"), info("a"), info(vmID("a").String()),
	}},
	{"define what exists in part", []Step{
		define(a), define(a.UUID("b")), define(Doc("b").UUID("a")), define(a.UUID("").Title("second")), look("a"),
	}},
	{"define without a UUID", []Step{define(a.UUID(""))}},
	{"define what is not a VM", []Step{
		define(Text("not XML", "<domain")),
		define(Text("only a comment", "<!-- nothing -->")),
		define(Text("a network", "<network><name>a</name></network>")),
		define(Doc("").UUID("a")),
		define(Doc("").UUID("a").Replace("empty name", "<uuid>", "<name></name><uuid>")),
		define(Doc("a/b").UUID("a").Deaf()),
		define(a.Replace("a UUID that is none", "-4000-8000-", "-4000-8z00-")),
		define(a.Replace("no memory", "<memory unit='MiB'>64</memory>", "")),
		define(a.Replace("no os", "<type arch='x86_64' machine='q35'>hvm</type>", "")),
		define(a.Replace("unknown machine", "machine='q35'", "machine='pdp11'")),
		define(a.Replace("unknown type", "<domain type='qemu'>", "<domain type='vax'>")),
		define(a.Replace("unknown element", "<devices>", "<devices><teapot/>")),
	}},
	{"define vGPUs that cannot be", []Step{
		define(a.VGPU("1").VGPU("1")),
		define(a.Hostdev("no source", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>")),
		define(a.Hostdev("no model", "<hostdev mode='subsystem' type='mdev'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("unknown model", "<hostdev mode='subsystem' type='mdev' model='vfio-usb'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("no UUID", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='1'/></source></hostdev>")),
		define(a.Hostdev("managed", "<hostdev mode='subsystem' type='mdev' managed='yes' model='vfio-pci'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("model vfio-ccw", "<hostdev mode='subsystem' type='mdev' model='vfio-ccw'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("model vfio-ap", "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("display without graphics", "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
		define(a.Hostdev("ramfb without display", "<hostdev mode='subsystem' type='mdev' model='vfio-pci' ramfb='on'><source><address uuid='"+deviceID("1")+"'/></source></hostdev>")),
	}},
	{"undefine what runs", []Step{
		define(a.Title("first")), start("a"), undefine("a"), undefine("a"), look("a"),
		define(a.Title("second")), look("a"), undefine("a"), destroy("a"), destroy("a"),
	}},
	{"define over what runs", []Step{
		define(a.Title("first")), start("a"), define(a.Title("second")), look("a"),
		define(a.Title("third").VGPU("1")), look("a"), destroy("a"), look("a"),
	}},
	{"what nobody has", []Step{
		start("a"), shutdown("a"), terminate("a"), destroy("a"), suspend("a"), resume("a"), reset("a"), undefine("a"),
		look("a"), info("a"), managedSave("a"), managedSaveRemove("a"), hasManagedSave("a"), save("a", "memory"),
		rename("a", "b"), autostart("a", true), metadata("a", "1", both), snapshot("a", "s"), revert("a", "s"),
		attach("a", "1", both), detach("a", "1", both), start(vmID("a").String()),
	}},
	{"undefine with a managed save", []Step{
		define(a), start("a"), managedSave("a"), undefine("a"),
		undefineWith("a", "with its managed save", domain.UndefineOptions{ManagedSave: true}), define(a), start("a"),
	}},
	{"undefine with NVRAM", []Step{
		define(withNVRAM), undefine("a"), define(withNVRAM), exists("nvram.fd"), start("a"), exists("nvram.fd"), destroy("a"), undefine("a"),
		undefineWith("a", "keeping NVRAM", domain.UndefineOptions{KeepNVRAM: true}), exists("nvram.fd"), define(withNVRAM), undefine("a"),
		undefineWith("a", "with NVRAM", domain.UndefineOptions{NVRAM: true}), exists("nvram.fd"),
		define(a), undefineWith("a", "with all options", domain.UndefineOptions{ManagedSave: true, NVRAM: true, SnapshotsMetadata: true, CheckpointsMetadata: true}),
	}},
}

var withNVRAM = a.NVRAM()

var lifeRows = []Row{
	{"start and terminate", []Step{
		define(a), start("a"), start("a"), look("a"), terminate("a"), terminate("a"), start(vmID("a").String()), destroy("a"), destroy("a"),
	}},
	{"a deaf guest", []Step{
		define(a.Deaf()), shutdown("a"), start("a"), shutdown("a"), shutdown("a"), shutdownBy("a", domain.ShutdownACPI), shutdownBy("a", domain.ShutdownAgent),
		suspend("a"), shutdown("a"), terminate("a"), shutdown("a"),
	}},
	{"a guest that hears", []Step{
		define(a), start("a"), boots("a"), shutdown("a").Until("a stopped shutdown"), start("a"), boots("a"),
		shutdownBy("a", domain.ShutdownACPI).Until("a stopped shutdown"),
	}},
	{"a guest that is asked while it is paused", []Step{
		define(a), start("a"), boots("a"), suspend("a"), shutdown("a"), resume("a"), powerOff("a").Until("a stopped shutdown"),
	}},
	{"a guest turns itself off", []Step{
		define(a), start("a"), boots("a"), powerOff("a").Until("a stopped shutdown"), start("a"), undefine("a"), boots("a"), powerOff("a").Until("a stopped shutdown"),
	}},
	{"suspend and resume", []Step{
		define(a), suspend("a"), resume("a"), start("a"), resume("a"), suspend("a"), suspend("a"), start("a"), resume("a"), resume("a"),
		suspend("a"), terminate("a"), suspend("a"), resume("a"),
	}},
	{"reset", []Step{
		define(a), reset("a"), start("a"), reset("a"), suspend("a"), reset("a"), resume("a"), destroy("a"), reset("a"),
	}},
	{"QEMU is killed", []Step{
		define(a), start("a"), crash("a").Until("a stopped failed"), start("a"), suspend("a"), crash("a").Until("a stopped failed"), destroy("a"),
		start("a"), undefine("a"), crash("a").Until("a stopped failed"),
	}},
	{"destroy what is paused", []Step{define(a), start("a"), suspend("a"), destroy("a")}},
}

var transientRows = []Row{
	{"create", []Step{
		create(a.Title("first")), look("a"), create(a), create(a.UUID("b")), create(Doc("b").UUID("a")), start("a"),
		autostart("a", true), managedSave("a"), undefine("a"), terminate("a"),
	}},
	{"create what is defined", []Step{
		define(a.Title("first")), create(a.UUID("b")), create(Doc("b").UUID("a")), create(a.Title("second")), look("a"), destroy("a"), look("a"),
	}},
	{"create and define", []Step{
		create(a.Title("first")), define(a.UUID("b")), define(a.Title("second")), look("a"), destroy("a"), look("a"), start("a"), look("a"),
	}},
	{"create with a vGPU", []Step{
		create(a.VGPU("1")), makes("1"), create(a.VGPU("1")), look("a"), removes("1"), destroy("a"), removes("1"),
	}},
	{"create what is not a VM", []Step{create(Text("not XML", "<domain")), create(Doc("").UUID("a"))}},
	{"save what is transient", []Step{
		create(a), save("a", "memory"), restore("memory"), suspend("a"), resume("a"), destroy("a"),
	}},
}

var nameRows = []Row{
	{"rename", []Step{
		define(a), rename("a", "b"), info("a"), rename("b", "b"), rename("b", "a"), rename("a", "a/b"), rename("a", ""),
		start("a"), rename("a", "b"), destroy("a"), rename("a", "b"), start("b"), look("b"),
	}},
	{"rename to what is taken", []Step{define(a), define(Doc("b")), rename("a", "b"), create(Doc("c")), rename("a", "c")}},
	{"rename with a managed save", []Step{define(a), start("a"), managedSave("a"), rename("a", "b"), start("a"), start("b")}},
	{"rename with autostart", []Step{define(a), autostart("a", true), rename("a", "b"), undefine("b"), define(Doc("b"))}},
	{"rename with a snapshot", []Step{disk(), define(a.Disk()), snapshot("a", "s"), rename("a", "b"), revert("b", "s"), look("b"), start("b")}},
	{"rename what is transient", []Step{create(a), rename("a", "b")}},
	{"autostart", []Step{
		define(a), autostart("a", true), autostart("a", true), define(a.Title("second")), start("a"), destroy("a"), autostart("a", false), autostart("a", false),
		autostart("a", true), undefine("a"), define(a),
	}},
	{"autostart of what is undefined while it runs", []Step{define(a), autostart("a", true), start("a"), undefine("a"), define(a), destroy("a")}},
}

var metadataRows = []Row{
	{"metadata while it runs", []Step{
		define(a), start("a"), metadata("a", "1", live), look("a"), metadata("a", "2", saved), look("a"), metadata("a", "3", both), look("a"),
		metadata("a", "", live), look("a"), metadata("a", "", live), metadata("a", "4", live), destroy("a"), look("a"),
		metadata("a", "", saved), metadata("a", "", saved), look("a"),
	}},
	{"metadata while it is off", []Step{
		define(a), metadata("a", "1", live), metadata("a", "2", both), metadata("a", "3", saved), look("a"), define(a), look("a"),
	}},
	{"metadata of what is transient", []Step{
		create(a), metadata("a", "1", live), metadata("a", "2", saved), metadata("a", "3", both), look("a"),
	}},
}
