package parity

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// step names what a method of the hypervisor does with one VM.
func step(name string, do func(r *run) error) Step {
	return Step{name: name, do: func(r *run) (string, error) { return "", do(r) }}
}

// byHand names what somebody else does; its error's kind is not ours to tell.
func byHand(name string, do func(r *run) error) Step {
	return step(name, func(r *run) error {
		if err := do(r); err != nil {
			return handError{err}
		}
		return nil
	})
}

type handError struct{ error }

func (e handError) Unwrap() error { return e.error }

// Until makes a step last until an event that comes by itself: "a stopped failed".
func (s Step) Until(event string) Step {
	s.until = event
	s.name += " … " + event
	return s
}

// Making and unmaking.

func define(d Document) Step {
	return step("define "+d.String(), func(r *run) error {
		r.Hand.Guest(d.name, d.deaf)
		info, err := r.Hypervisor.Define(r.ctx, d.xml(r.Dir))
		if err == nil && info.Name != d.name {
			return fmt.Errorf("defined %+v", info)
		}
		return err
	})
}

func create(d Document) Step {
	return byHand("create "+d.String(), func(r *run) error {
		r.Hand.Guest(d.name, d.deaf)
		return r.Hand.Create(r.ctx, d.xml(r.Dir))
	})
}

func undefine(vm string) Step { return undefineWith(vm, "", domain.UndefineOptions{}) }

func undefineWith(vm, said string, opts domain.UndefineOptions) Step {
	return step(strings.TrimSpace("undefine "+vm+" "+said), func(r *run) error { return r.Hypervisor.Undefine(r.ctx, vm, opts) })
}

func rename(vm, to string) Step {
	return byHand("rename "+vm+" "+to, func(r *run) error { return r.Hand.Rename(r.ctx, vm, to) })
}

func autostart(vm string, on bool) Step {
	return byHand(fmt.Sprintf("autostart %s %v", vm, on), func(r *run) error { return r.Hand.SetAutostart(r.ctx, vm, on) })
}

// The life of a VM.

func start(vm string) Step {
	return step("start "+vm, func(r *run) error { return r.Hypervisor.Start(r.ctx, vm) })
}

func shutdown(vm string) Step { return shutdownBy(vm, domain.ShutdownAny) }

func shutdownBy(vm string, mode domain.ShutdownMode) Step {
	return step(strings.TrimSpace("shutdown "+vm+" "+string(mode)), func(r *run) error { return r.Hypervisor.Shutdown(r.ctx, vm, mode) })
}

func terminate(vm string) Step {
	return step("terminate "+vm, func(r *run) error { return r.Hypervisor.Terminate(r.ctx, vm) })
}

func destroy(vm string) Step {
	return step("destroy "+vm, func(r *run) error { return r.Hypervisor.Destroy(r.ctx, vm) })
}

func suspend(vm string) Step {
	return step("suspend "+vm, func(r *run) error { return r.Hypervisor.Suspend(r.ctx, vm) })
}

func resume(vm string) Step {
	return step("resume "+vm, func(r *run) error { return r.Hypervisor.Resume(r.ctx, vm) })
}

func reset(vm string) Step {
	return step("reset "+vm, func(r *run) error { return r.Hypervisor.Reset(r.ctx, vm) })
}

// What happens without being asked for.

func boots(vm string) Step {
	return byHand(vm+"'s guest listens", func(r *run) error { return r.Hand.Boot(r.ctx, vm) })
}

func crash(vm string) Step {
	return byHand(vm+"'s QEMU is killed", func(r *run) error { return r.Hand.Crash(r.ctx, vm) })
}

func powerOff(vm string) Step {
	return byHand(vm+"'s guest turns itself off", func(r *run) error { return r.Hand.PowerOff(r.ctx, vm) })
}

// Memory on disk.

func save(vm, file string) Step {
	return step("save "+vm+" "+file, func(r *run) error { return r.Hypervisor.Save(r.ctx, vm, filepath.Join(r.Dir, file)) })
}

func restore(file string) Step {
	return step("restore "+file, func(r *run) error { return r.Hypervisor.Restore(r.ctx, filepath.Join(r.Dir, file), "") })
}

func restoreWith(file string, d Document) Step {
	return step("restore "+file+" as "+d.String(), func(r *run) error {
		return r.Hypervisor.Restore(r.ctx, filepath.Join(r.Dir, file), d.xml(r.Dir))
	})
}

func managedSave(vm string) Step {
	return step("managed save "+vm, func(r *run) error { return r.Hypervisor.ManagedSave(r.ctx, vm) })
}

func managedSaveRemove(vm string) Step {
	return step("managed save remove "+vm, func(r *run) error { return r.Hypervisor.ManagedSaveRemove(r.ctx, vm) })
}

func hasManagedSave(vm string) Step {
	return Step{name: "has managed save " + vm, do: func(r *run) (string, error) {
		has, err := r.Hypervisor.HasManagedSave(r.ctx, vm)
		return fmt.Sprint(has), err
	}}
}

func snapshot(vm, name string) Step {
	return byHand("snapshot "+vm+" "+name, func(r *run) error { return r.Hand.Snapshot(r.ctx, vm, name) })
}

func revert(vm, name string) Step {
	return byHand("revert "+vm+" "+name, func(r *run) error { return r.Hand.Revert(r.ctx, vm, name) })
}

// Devices on the host.

// The types of the vGPUs, by parent.
var types = map[string]string{"mtty": "mtty-1", "mdpy": "mdpy-vga", M60: "GRID M60-2Q", firstVF: "NVIDIA L40S-4Q", secondVF: "NVIDIA L40S-4Q"}

func makes(n string) Step { return makesOn("mtty", n) }

// makesOn makes an mdev.
func makesOn(parent, n string) Step {
	return step("make vGPU "+n, func(r *run) error {
		return r.made(deviceID(n), mdev.CreateRequest{Type: types[parent], Parent: parent, UUID: uuid.MustParse(deviceID(n))})
	})
}

// makesVF gives a virtual function a type.
func makesVF(vf string) Step {
	return step("make a vGPU of "+vf, func(r *run) error { return r.made(vf, mdev.CreateRequest{Type: types[vf], Parent: vf}) })
}

func (r *run) made(id string, req mdev.CreateRequest) error {
	_, err := r.Host.Create(r.ctx, req)
	if err == nil {
		r.devices[id] = true
	}
	return err
}

func removes(n string) Step {
	return step("remove vGPU "+n, func(r *run) error { return r.unmade(deviceID(n)) })
}

func removesVF(vf string) Step {
	return step("remove the vGPU of "+vf, func(r *run) error { return r.unmade(vf) })
}

func (r *run) unmade(id string) error {
	err := r.Host.Remove(r.ctx, id)
	if err == nil {
		delete(r.devices, id)
	}
	return err
}

// holds and releases are another process's; it opens the device's VFIO group.
func holds(n string) Step {
	return step("a process opens vGPU "+n, func(r *run) error { return r.held(n, "sys/bus/mdev/devices/"+deviceID(n)) })
}

func holdsVF(vf string) Step {
	return step("a process opens "+vf, func(r *run) error { return r.held(vf, "sys/bus/pci/devices/"+vf) })
}

func (r *run) held(what, device string) error {
	group, err := r.Files.Readlink(device + "/iommu_group")
	if err != nil {
		return err
	}
	node, err := r.Files.OpenNode("dev/vfio/" + path.Base(group))
	if err == nil {
		r.released[what] = node.Close
	}
	return err
}

func releases(what string) Step {
	return step("the process closes vGPU "+what, func(r *run) error {
		release := r.released[what]
		delete(r.released, what)
		return release()
	})
}

// Devices in VMs.

const (
	live  = domain.ScopeLive
	saved = domain.ScopeSaved
	both  = domain.ScopeLive | domain.ScopeSaved
)

func scopeName(scope domain.Scope) string {
	return map[domain.Scope]string{live: "live", saved: "saved", both: "live and saved"}[scope]
}

func attach(vm, n string, scope domain.Scope) Step {
	return attachXML(vm, "vGPU "+n, vgpuXML(n, ""), scope)
}

func attachXML(vm, said, xml string, scope domain.Scope) Step {
	return step("attach "+vm+" "+said+" "+scopeName(scope), func(r *run) error { return r.Hypervisor.Attach(r.ctx, vm, xml, scope) })
}

func detach(vm, n string, scope domain.Scope) Step {
	return detachXML(vm, "vGPU "+n, vgpuXML(n, ""), scope)
}

// waitError is of an operation that looks by itself where the guest is, and has words of
// its own.
type waitError struct{ error }

func (e waitError) Unwrap() error { return e.error }

// detachXML waits a while for the guest.
func detachXML(vm, said, xml string, scope domain.Scope) Step {
	return step("detach "+vm+" "+said+" "+scopeName(scope), func(r *run) error {
		ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
		defer cancel()
		err := r.Hypervisor.Detach(ctx, vm, xml, scope)
		if err != nil && scope&live != 0 {
			return waitError{err}
		}
		return err
	})
}

// Metadata in our namespace.

func metadata(vm, mark string, scope domain.Scope) Step {
	element := ""
	if mark != "" {
		element = "<mark>" + mark + "</mark>"
	}
	return byHand(fmt.Sprintf("metadata %s %q %s", vm, mark, scopeName(scope)), func(r *run) error {
		return r.Hand.SetMetadata(r.ctx, vm, element, scope)
	})
}

// Reading.

func look(vm string) Step {
	return Step{name: "documents of " + vm, do: func(r *run) (string, error) {
		def, err := r.Hypervisor.Definition(r.ctx, vm)
		if err != nil {
			return "", err
		}
		xml, err := r.Hypervisor.XML(r.ctx, vm)
		if err != nil {
			return "", err
		}
		if digest(xml) != digest(def.XML) {
			return "", fmt.Errorf("XML and Definition differ: %s and %s", digest(xml), digest(def.XML))
		}
		now, err := r.Hypervisor.LiveXML(r.ctx, vm)
		if err != nil {
			return "", err
		}
		movable, err := r.Hypervisor.MigratableXML(r.ctx, vm)
		if err != nil {
			return "", err
		}
		return "saved: " + digest(xml) + "\nlive: " + digest(now) + "\nmigratable: " + digest(movable), nil
	}}
}

// info looks at a VM by whatever names it.
func info(vm string) Step {
	return Step{name: "info " + vm, do: func(r *run) (string, error) {
		info, err := r.Hypervisor.Info(r.ctx, vm)
		return string(info.State), err
	}}
}

var (
	idPattern      = regexp.MustCompile(`<domain [^>]*\bid='\d+'`)
	titlePattern   = regexp.MustCompile(`<title>(.*?)</title>`)
	markPattern    = regexp.MustCompile(`:mark [^>]*>(.*?)</`)
	hostdevPattern = regexp.MustCompile(`(?s)<hostdev .*?</hostdev>`)
	sourcePattern  = regexp.MustCompile(`(?s)<source>.*?<address ([^>]*)/>`)
	aliasPattern   = regexp.MustCompile(`<alias name='(.*?)'/>`)
)

// digest is what of a document is compared.
func digest(xml string) string {
	var parts []string
	if idPattern.MatchString(xml) {
		parts = append(parts, "has an id")
	}
	for _, p := range []struct {
		what string
		re   *regexp.Regexp
	}{{"title", titlePattern}, {"mark", markPattern}} {
		if m := p.re.FindStringSubmatch(xml); m != nil {
			parts = append(parts, p.what+" "+m[1])
		}
	}
	for _, h := range hostdevPattern.FindAllString(xml, -1) {
		part := "hostdev"
		if m := sourcePattern.FindStringSubmatch(h); m != nil {
			part += " " + m[1]
		}
		if m := aliasPattern.FindStringSubmatch(h); m != nil {
			part += " " + m[1]
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "plain"
	}
	return strings.Join(parts, ", ")
}

// Files.

func disk() Step {
	return byHand("a disk", func(r *run) error { return r.Hand.Disk(r.ctx, filepath.Join(r.Dir, "disk.qcow2")) })
}

func exists(file string) Step {
	return Step{name: "is there a file " + file, do: func(r *run) (string, error) {
		return fmt.Sprint(r.Hand.HasFile(r.ctx, filepath.Join(r.Dir, file))), nil
	}}
}

func vfXML(address string) string {
	var domain, bus, slot, function uint
	if _, err := fmt.Sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function); err != nil {
		panic(err) // of this table
	}
	return fmt.Sprintf("<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/></source></hostdev>", domain, bus, slot, function)
}
