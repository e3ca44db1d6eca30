// Command controlplane embeds the library in a small HTTP service:
//
//	PUT    /vms/{name}         {"domain": "<domain…>", "vgpus": [{"type": "nvidia-22"}], "lifetime": "while-running"}
//	POST   /vms/{name}/start   POST /vms/{name}/stop
//	GET    /vms  /vms/{name}   DELETE /vms/{name}
//
// Meanwhile it gives back what VMs leave that end by themselves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on; there is no authentication")
	connect := flag.String("connect", "", "libvirt URI")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *connect); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, connect string) error {
	kit, err := vgpukit.Open(ctx, vgpukit.Config{URI: connect})
	if err != nil {
		return err
	}
	defer kit.Close()
	// What an earlier process did not finish, and what the host forgot at a reboot.
	if _, err := kit.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true}); err != nil {
		fmt.Fprintln(os.Stderr, "left to do:", err)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return serve(ctx, kit.Manager, listener)
}

// serve answers requests and watches the VMs until ctx ends, or until it can no
// longer watch. Requests under way are answered first.
func serve(ctx context.Context, manager *vgpu.Manager, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: handler(manager)}
	ended := make(chan error, 1)
	go func() {
		err := manager.Watch(ctx)
		ended <- errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
