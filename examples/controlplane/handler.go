package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu"
)

func handler(m *vgpu.Manager) http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, do func(*http.Request, string) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := do(r, r.PathValue("name"))
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				w.WriteHeader(statusOf(err))
				answer = failure(err)
			}
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
		Domain   string         `json:"domain"`
		VGPUs    []vgpu.Request `json:"vgpus"`
		Lifetime vgpu.Lifetime  `json:"lifetime"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&body); err != nil {
		return nil, errors.Join(errBody, err)
	}
	doc, err := domain.Parse([]byte(body.Domain))
	if err != nil || doc.Name() != name {
		return nil, errors.Join(errBody, err)
	}
	return m.Provision(r.Context(), vgpu.ProvisionRequest{Domain: doc.String(), VGPUs: body.VGPUs, Lifetime: body.Lifetime})
}

// statusOf goes by the outermost error's kind, which says what the whole came to:
// those beneath may be of several.
func statusOf(err error) int {
	var e *vgpu.Error
	switch {
	case errors.Is(err, errBody):
		return http.StatusBadRequest
	case !errors.As(err, &e):
		return http.StatusInternalServerError
	}
	switch e.Kind {
	case vgpu.ErrInvalid:
		return http.StatusBadRequest
	case vgpu.ErrNotFound:
		return http.StatusNotFound
	case vgpu.ErrExists, vgpu.ErrInUse, vgpu.ErrBusy, vgpu.ErrState:
		return http.StatusConflict
	case vgpu.ErrNoCapacity:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// failure is the reason and what to do.
func failure(err error) map[string]string {
	answer := map[string]string{"error": err.Error()}
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		answer["next"] = hint.Hint()
	}
	return answer
}
