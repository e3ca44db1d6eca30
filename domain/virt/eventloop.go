//go:build cgo

package virt

import (
	"log/slog"
	"sync"
	"time"

	"libvirt.org/go/libvirt"
)

var eventLoop struct {
	once sync.Once
	err  error
}

// startEventLoop registers libvirt's event loop and runs it. libvirt wants that
// before the first connection, has one for the process, and cannot take it
// back: the goroutine runs as long as the program. A program that runs
// libvirt's default loop itself shares it.
func startEventLoop(log *slog.Logger) error {
	eventLoop.once.Do(func() {
		if eventLoop.err = libvirt.EventRegisterDefaultImpl(); eventLoop.err != nil {
			return
		}
		bindSymbols()
		go func() {
			for {
				if err := libvirt.EventRunDefaultImpl(); err != nil {
					log.Error("libvirt's event loop failed, going on", "error", err)
					time.Sleep(time.Second) // do not spin on a lasting failure
				}
			}
		}()
	})
	return eventLoop.err
}

// bindSymbols calls each of libvirt's functions that this package uses once, on
// nil handles, which libvirt refuses. Built with libvirt_dlopen, the binding
// looks a function up at its first call, without a lock: two first calls at a
// time may see each other's half-done work and fail.
func bindSymbols() {
	var (
		c libvirt.Connect
		d libvirt.Domain
		s libvirt.Stream
	)
	_, _ = libvirt.GetVersion()
	_, _ = c.IsAlive()
	_, _ = c.ListAllDomains(0)
	_, _ = c.LookupDomainByName("")
	_, _ = c.LookupDomainByUUIDString("")
	_, _ = c.DomainDefineXMLFlags("", 0)
	_, _ = c.NewStream(0)
	_ = c.DomainRestoreFlags("", "", 0)
	_ = c.SetKeepAlive(0, 0)
	_ = c.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) {})
	_, _ = c.DomainEventLifecycleRegister(nil, func(*libvirt.Connect, *libvirt.Domain, *libvirt.DomainEventLifecycle) {})
	_ = c.DomainEventDeregister(0)
	_, _ = c.Close()
	_, _ = d.GetName()
	_, _ = d.GetID()
	_, _ = d.GetUUIDString()
	_, _, _ = d.GetState()
	_, _ = d.IsPersistent()
	_, _ = d.IsActive()
	_, _ = d.HasManagedSaveImage(0)
	_, _ = d.GetXMLDesc(0)
	_, _ = d.GetJobStats(0)
	_, _ = d.Screenshot(&s, 0, 0)
	_, _ = d.QemuMonitorCommand("", 0)
	_ = d.CreateWithFlags(0)
	_ = d.ShutdownFlags(0)
	_ = d.DestroyFlags(0)
	_ = d.Suspend()
	_ = d.Resume()
	_ = d.Reset(0)
	_ = d.UndefineFlags(0)
	_ = d.SaveFlags("", "", 0)
	_ = d.ManagedSave(0)
	_ = d.ManagedSaveRemove(0)
	_ = d.AbortJob()
	_ = d.AttachDeviceFlags("", 0)
	_ = d.DetachDeviceFlags("", 0)
	_ = d.DetachDeviceAlias("", 0)
	_ = d.Free()
	_, _ = s.Recv(make([]byte, 1))
	_ = s.Abort()
	_ = s.Finish()
	_ = s.Free()
}
