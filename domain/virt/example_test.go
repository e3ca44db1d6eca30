//go:build cgo

package virt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
)

// The examples run on libvirt's test driver, which needs no daemon. It has one
// VM, "test", for the whole process; each example makes its own.
const testDriver = "test:///default"

const web1 = `<domain type='test'>
  <name>web1</name>
  <uuid>0b5b8ff4-9b5c-4a3e-9a4b-0c4b0e2f7a11</uuid>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type></os>
  <devices>
    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
      <source><address uuid='c0ffee00-0000-4000-8000-000000000001'/></source>
    </hostdev>
  </devices>
</domain>`

// with gives an example its connection, and the VM web1.
func with(f func(ctx context.Context, conn *virt.Conn)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := virt.Open(ctx, virt.Config{URI: testDriver})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if _, err := conn.Define(ctx, web1); err != nil {
		fmt.Println(err)
		return
	}
	f(ctx, conn)
	_ = conn.Destroy(ctx, "web1")
	_ = conn.Undefine(ctx, "web1", domain.UndefineOptions{ManagedSave: true})
}

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := virt.Open(ctx, virt.Config{URI: "test:///default"}) // "" for qemu:///system
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	vm, err := conn.Define(ctx, web1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Undefine(ctx, vm.Name, domain.UndefineOptions{})
	if err := conn.Start(ctx, vm.Name); err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Destroy(ctx, vm.Name)
	vm, err = conn.Info(ctx, vm.UUID.String())
	fmt.Println(vm.Name, vm.State, err)
	// Output: web1 running <nil>
}

func ExampleOpen() {
	_, err := virt.Open(context.Background(), virt.Config{URI: "qemu+unix:///system?socket=/nonexistent/libvirt-sock"})
	var e *virt.Error
	if errors.As(err, &e) {
		fmt.Println(e.Meaning)
		fmt.Println(e.Hint())
	}
	fmt.Println(errors.Is(err, domain.ErrUnavailable))
	// Output:
	// libvirt's daemon does not listen on /nonexistent/libvirt-sock
	// start the user's daemon: libvirtd --daemon (or virtqemud --daemon); install it: apt-get install libvirt-daemon-system
	// true
}

func ExampleCheckURI() {
	fmt.Println(virt.CheckURI("qemu+ssh://root@gpu7/system"))
	fmt.Println(virt.CheckURI("qemu+ssh:///system"))
	// Output:
	// <nil>
	// connect to "qemu+ssh:///system": the transport ssh needs a host
}

func ExampleConn_URI() {
	with(func(_ context.Context, conn *virt.Conn) {
		fmt.Println(conn.URI())
	})
	// Output: test:///default
}

func ExampleConn_Close() {
	conn, err := virt.Open(context.Background(), virt.Config{URI: testDriver})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(conn.Close())
	_, err = conn.Domains(context.Background())
	fmt.Println(errors.Is(err, domain.ErrUnavailable))
	// Output:
	// <nil>
	// true
}

func ExampleConn_Domains() {
	with(func(ctx context.Context, conn *virt.Conn) {
		vms, err := conn.Domains(ctx)
		for _, vm := range vms {
			fmt.Println(vm.Name, vm.State)
		}
		fmt.Println(err)
	})
	// Output:
	// test running
	// web1 shut off
	// <nil>
}

func ExampleConn_Info() {
	with(func(ctx context.Context, conn *virt.Conn) {
		vm, err := conn.Info(ctx, "web1")
		fmt.Println(vm.UUID, vm.State, vm.Persistent, err)
		_, err = conn.Info(ctx, "web2")
		fmt.Println(errors.Is(err, domain.ErrNotFound))
	})
	// Output:
	// 0b5b8ff4-9b5c-4a3e-9a4b-0c4b0e2f7a11 shut off true <nil>
	// true
}

func ExampleConn_XML() {
	with(func(ctx context.Context, conn *virt.Conn) {
		xml, err := conn.XML(ctx, "web1")
		fmt.Println(strings.Contains(xml, "<address uuid='c0ffee00-0000-4000-8000-000000000001'/>"), err)
	})
	// Output: true <nil>
}

func ExampleConn_Definition() {
	with(func(ctx context.Context, conn *virt.Conn) {
		// Add a title, keep everything else, secrets too.
		def, err := conn.Definition(ctx, "web1")
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = conn.Define(ctx, strings.Replace(def.XML, "</uuid>", "</uuid><title>Web</title>", 1))
		fmt.Println(err)
	})
	// Output: <nil>
}

func ExampleConn_LiveXML() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		xml, err := conn.LiveXML(ctx, "web1")
		fmt.Println(strings.Contains(xml, " id='"), err)
	})
	// Output: true <nil>
}

func ExampleConn_MigratableXML() {
	with(func(ctx context.Context, conn *virt.Conn) {
		xml, err := conn.MigratableXML(ctx, "web1")
		if err != nil {
			fmt.Println(err)
			return
		}
		there := strings.ReplaceAll(xml, "c0ffee00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-000000000002")
		fmt.Println(xml != there)
	})
	// Output: true
}

func ExampleConn_Define() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_, err := conn.Define(ctx, strings.Replace(web1, "0b5b8ff4", "ffffffff", 1))
		fmt.Println(errors.Is(err, domain.ErrExists))
	})
	// Output: true
}

func ExampleConn_Undefine() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		_ = conn.ManagedSave(ctx, "web1")
		err := conn.Undefine(ctx, "web1", domain.UndefineOptions{})
		var e *virt.Error
		if errors.As(err, &e) {
			fmt.Println(e.Meaning)
		}
		fmt.Println(conn.Undefine(ctx, "web1", domain.UndefineOptions{ManagedSave: true}))
	})
	// Output:
	// the VM has a managed save image
	// <nil>
}

func ExampleConn_Start() {
	with(func(ctx context.Context, conn *virt.Conn) {
		fmt.Println(conn.Start(ctx, "web1"))
		err := conn.Start(ctx, "web1")
		fmt.Println(errors.Is(err, domain.ErrState))
	})
	// Output:
	// <nil>
	// true
}

func ExampleConn_Shutdown() {
	with(func(ctx context.Context, conn *virt.Conn) {
		events, err := conn.Events(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = conn.Start(ctx, "web1")
		_ = conn.Shutdown(ctx, "web1", domain.ShutdownAny) // only asks
		for e := range events {
			if e.VM == "web1" && e.Kind == domain.EventStopped {
				fmt.Println(e.Detail)
				break
			}
		}
	})
	// Output: shutdown
}

func ExampleConn_Terminate() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		err := conn.Terminate(ctx, "web1") // SIGTERM only
		if err != nil {
			err = conn.Destroy(ctx, "web1") // SIGKILL if need be
		}
		fmt.Println(err)
	})
	// Output: <nil>
}

func ExampleConn_Destroy() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		fmt.Println(conn.Destroy(ctx, "web1"))
	})
	// Output: <nil>
}

func ExampleConn_Suspend() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		fmt.Println(conn.Suspend(ctx, "web1"))
		vm, _ := conn.Info(ctx, "web1")
		fmt.Println(vm.State)
	})
	// Output:
	// <nil>
	// paused
}

func ExampleConn_Resume() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		_ = conn.Suspend(ctx, "web1")
		fmt.Println(conn.Resume(ctx, "web1"))
	})
	// Output: <nil>
}

func ExampleConn_Reset() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		err := conn.Reset(ctx, "web1")
		fmt.Println(err == nil || errors.Is(err, domain.ErrUnsupported)) // by the test driver's age
	})
	// Output: true
}

func ExampleConn_Events() {
	with(func(ctx context.Context, conn *virt.Conn) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		events, err := conn.Events(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = conn.Start(ctx, "web1")
		_ = conn.Destroy(ctx, "web1")
		for e := range events {
			fmt.Println(e.VM, e.Kind, e.Detail)
			if e.Kind == domain.EventStopped {
				cancel() // the channel is closed
			}
		}
	})
	// Output:
	// web1 started booted
	// web1 stopped destroyed
}

func ExampleConn_Save() {
	with(func(ctx context.Context, conn *virt.Conn) {
		dir, err := os.MkdirTemp("", "example")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "web1.save")
		_ = conn.Start(ctx, "web1")
		fmt.Println(conn.Save(ctx, "web1", file))
		fmt.Println(conn.Restore(ctx, file, ""))
	})
	// Output:
	// <nil>
	// <nil>
}

func ExampleConn_Restore() {
	with(func(ctx context.Context, conn *virt.Conn) {
		err := conn.Restore(ctx, "/nonexistent/web1.save", "")
		fmt.Println(errors.Is(err, domain.ErrNotFound))
	})
	// Output: true
}

func ExampleConn_ManagedSave() {
	with(func(ctx context.Context, conn *virt.Conn) {
		_ = conn.Start(ctx, "web1")
		fmt.Println(conn.ManagedSave(ctx, "web1"))
		vm, _ := conn.Info(ctx, "web1")
		saved, _ := conn.HasManagedSave(ctx, "web1")
		fmt.Println(vm.State, saved)
	})
	// Output:
	// <nil>
	// shut off true
}

func ExampleConn_HasManagedSave() {
	with(func(ctx context.Context, conn *virt.Conn) {
		fmt.Println(conn.HasManagedSave(ctx, "web1"))
	})
	// Output: false <nil>
}

func ExampleConn_ManagedSaveRemove() {
	with(func(ctx context.Context, conn *virt.Conn) {
		fmt.Println(conn.ManagedSaveRemove(ctx, "web1"))
	})
	// Output: <nil>
}

func ExampleConn_Screenshot() {
	with(func(ctx context.Context, conn *virt.Conn) {
		image, mimeType, err := conn.Screenshot(ctx, "test", 0)
		fmt.Println(len(image) > 0, mimeType, err)
	})
	// Output: true image/png <nil>
}

// The test driver has no QEMU to talk to, nor devices to attach, nor jobs.

func ExampleConn_Monitor() {
	with(func(ctx context.Context, conn *virt.Conn) {
		out, err := conn.Monitor(ctx, "test", "info pci")
		fmt.Printf("%q %v\n", out, errors.Is(err, domain.ErrUnsupported))
	})
	// Output: "" true
}

func ExampleConn_QMP() {
	with(func(ctx context.Context, conn *virt.Conn) {
		out, err := conn.QMP(ctx, "test", `{"execute":"query-status"}`)
		fmt.Printf("%q %v\n", out, errors.Is(err, domain.ErrUnsupported))
	})
	// Output: "" true
}

func ExampleConn_Attach() {
	with(func(ctx context.Context, conn *virt.Conn) {
		err := conn.Attach(ctx, "test", `<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
  <source><address uuid='c0ffee00-0000-4000-8000-000000000002'/></source>
</hostdev>`, domain.ScopeLive|domain.ScopeSaved)
		fmt.Println(errors.Is(err, domain.ErrUnsupported))
	})
	// Output: true
}

func ExampleConn_Detach() {
	with(func(ctx context.Context, conn *virt.Conn) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // for the guest to let go
		defer cancel()
		err := conn.Detach(ctx, "test", "hostdev0", domain.ScopeLive|domain.ScopeSaved)
		switch {
		case errors.Is(err, domain.ErrInUse):
			fmt.Println("the guest uses it")
		case err != nil:
			fmt.Println("not detached")
		}
	})
	// Output: not detached
}

func ExampleConn_JobInfo() {
	with(func(ctx context.Context, conn *virt.Conn) {
		job, err := conn.JobInfo(ctx, "test")
		fmt.Println(job.Active, errors.Is(err, domain.ErrUnsupported))
	})
	// Output: false true
}

func ExampleConn_AbortJob() {
	with(func(ctx context.Context, conn *virt.Conn) {
		fmt.Println(errors.Is(conn.AbortJob(ctx, "test"), domain.ErrUnsupported))
	})
	// Output: true
}

func ExampleError() {
	with(func(ctx context.Context, conn *virt.Conn) {
		err := conn.Start(ctx, "web9")
		var e *virt.Error
		if errors.As(err, &e) {
			fmt.Println("what:", e.Meaning)
			fmt.Println("do:  ", e.Hint())
			fmt.Println("code:", e.Code)
		}
	})
	// Output:
	// what: there is no such VM
	// do:   list the VMs: virsh list --all
	// code: 42
}
