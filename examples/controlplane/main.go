// Command controlplane embeds the library in a small HTTP service:
//
//	PUT    /vms/{name}         {"domain": "<domain…>", "vgpus": [{"type": "nvidia-22"}]}
//	POST   /vms/{name}/start   POST /vms/{name}/stop
//	GET    /vms  /vms/{name}   DELETE /vms/{name}
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on; there is no authentication")
	connect := flag.String("connect", "", "libvirt URI")
	flag.Parse()
	if err := serve(context.Background(), *listen, *connect); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, connect string) error {
	host, err := mdev.Open(mdev.Config{})
	if err != nil {
		return err
	}
	conn, err := virt.Open(ctx, virt.Config{URI: connect})
	if err != nil {
		return err
	}
	defer conn.Close()
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: conn})
	if err != nil {
		return err
	}
	if _, err := manager.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true}); err != nil {
		fmt.Fprintln(os.Stderr, "left to do:", err)
	}
	return http.ListenAndServe(listen, handler(manager))
}

func handler(m *vgpu.Manager) http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, do func(*http.Request, string) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := do(r, r.PathValue("name"))
			if err != nil {
				fail(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the client may be gone
		})
	}
	route("GET /vms", func(r *http.Request, _ string) (any, error) { return m.List(r.Context()) })
	route("GET /vms/{name}", func(r *http.Request, vm string) (any, error) { return m.Status(r.Context(), vm) })
	route("PUT /vms/{name}", func(r *http.Request, vm string) (any, error) { return provision(m, r, vm) })
	route("POST /vms/{name}/start", func(r *http.Request, vm string) (any, error) {
		return m.Start(r.Context(), vm, vgpu.StartOptions{})
	})
	route("POST /vms/{name}/stop", func(r *http.Request, vm string) (any, error) {
		return m.Stop(r.Context(), vm, vgpu.StopOptions{})
	})
	route("DELETE /vms/{name}", func(r *http.Request, vm string) (any, error) {
		return struct{}{}, m.Teardown(r.Context(), vm, vgpu.TeardownOptions{})
	})
	return mux
}

var errBody = errors.New(`the body is not {"domain": "…", "vgpus": […]} for a VM of this name`)

func provision(m *vgpu.Manager, r *http.Request, name string) (any, error) {
	var body struct {
		Domain string         `json:"domain"`
		VGPUs  []vgpu.Request `json:"vgpus"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&body); err != nil {
		return nil, errors.Join(errBody, err)
	}
	doc, err := domain.Parse([]byte(body.Domain))
	if err != nil {
		return nil, err
	}
	if doc.Name() != name {
		return nil, errBody
	}
	return m.Provision(r.Context(), vgpu.ProvisionRequest{Domain: doc.Bytes(), VGPUs: body.VGPUs})
}

// fail answers with the status that fits the kind, the reason and what to do.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for kind, code := range map[error]int{
		errBody: http.StatusBadRequest, domain.ErrInvalid: http.StatusBadRequest, vgpu.ErrInvalid: http.StatusBadRequest, vgpu.ErrNotFound: http.StatusNotFound,
		vgpu.ErrExists: http.StatusConflict, vgpu.ErrInUse: http.StatusConflict, vgpu.ErrBusy: http.StatusConflict,
		vgpu.ErrState: http.StatusConflict, vgpu.ErrNoCapacity: http.StatusInsufficientStorage,
	} {
		if errors.Is(err, kind) {
			status = code
		}
	}
	answer := map[string]string{"error": err.Error()}
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		answer["next"] = hint.Hint()
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}
