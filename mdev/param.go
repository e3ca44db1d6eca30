package mdev

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// maxVGPUParams is NVIDIA's bound on vgpu_params, with the newline.
const maxVGPUParams = 1024

// Check refuses with [ErrInvalid] what no device should be asked: names that are not of
// one of its own parameters, and values that NVIDIA's driver would cut or not understand
// when the VM starts. Create and Define do so too; Create also refuses what a device of
// that type does not take, before it makes one.
//
// A name is that of a file in the device's directory, or "nvidia/" and one there.
func (p Param) Check() error { return p.check("check") }

func (p Param) check(op string) error {
	if !p.named() {
		return p.refused(op, "this cannot be an attribute of a device", anyParams)
	}
	if strings.ContainsAny(p.Value, "\x00\n") {
		return p.refused(op, "the value has more than one line", "write the value as one line, without its newline")
	}
	if path.Base(p.Name) == "vgpu_params" {
		return checkVGPUParams(op, p.Value)
	}
	return nil
}

// checkVGPUParams checks comma-separated key=value pairs. NVIDIA's driver
// looks at them only when the VM starts, which is late to learn of a typo.
func checkVGPUParams(op, value string) error {
	invalid := func(meaning, next string) error {
		return &Error{Op: op, Object: fmt.Sprintf("vgpu_params %q", value), Meaning: meaning, Next: next, Kind: ErrInvalid}
	}
	if len(value)+1 > maxVGPUParams {
		return invalid(fmt.Sprintf("longer than %d bytes", maxVGPUParams-1), "leave some out")
	}
	if strings.TrimSpace(value) == "" {
		return nil // clears them
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(value, ",") {
		key, setting, ok := strings.Cut(pair, "=")
		switch {
		case !ok || key == "" || setting == "" || strings.ContainsAny(pair, " \t\""):
			return invalid(fmt.Sprintf("%q is not key=value", pair), "write key=value pairs with commas between them and no spaces: frame_rate_limiter=0,disable_vnc=1")
		case seen[key]:
			return invalid(fmt.Sprintf("%q is set twice", key), "leave one out")
		}
		seen[key] = true
	}
	return nil
}

// setParams writes parameters in order and reads back those that can be read.
// On a device that existed before, a value that is already so is not written
// again, and when one fails, those before it are put back.
func (h *Host) setParams(ctx context.Context, dev *Device, params []Param, existed bool) error {
	files, err := h.paramFiles(ctx, *dev, params) // found before any is written
	if err != nil {
		return err
	}
	var old []Param // by file
	for i, param := range params {
		if existed {
			value, err := h.readFile(ctx, files[i])
			was := Param{files[i], strings.TrimSpace(string(value))}
			if err == nil && was.Value == strings.TrimSpace(param.Value) {
				continue
			}
			if err == nil {
				old = append(old, was)
			}
		}
		err := h.writeParam(ctx, files[i], param.Value)
		if err != nil {
			e := explain("create", fmt.Sprintf("%s of %s", param.Name, dev.ID), paramFile, err)
			e.Meaning = fmt.Sprintf("%s (value %q)", e.Meaning, param.Value)
			err = e
		} else {
			err = h.readBack(ctx, dev, param, files[i])
		}
		if err != nil {
			return h.putBack(ctx, old, err)
		}
	}
	return nil
}

func (h *Host) writeParam(ctx context.Context, file, value string) error {
	if value == "" {
		value = " " // clears vgpu_params; an empty write would do nothing
	}
	// NVIDIA drops the last character, which must be the newline.
	return h.write(ctx, file, value+"\n")
}

// putBack gives attributes the values that they had, the last one first. It has
// a time of its own, since ctx may have ended.
func (h *Host) putBack(ctx context.Context, old []Param, cause error) error {
	if len(old) == 0 {
		return cause
	}
	err, done := h.afterwards(ctx, func(ctx context.Context) error {
		var failed []error
		for _, was := range slices.Backward(old) {
			if data, err := h.readFile(ctx, was.Name); err == nil && strings.TrimSpace(string(data)) == was.Value {
				continue // the failed write changed nothing
			}
			if err := h.writeParam(ctx, was.Name, was.Value); err != nil {
				h.log.WarnContext(ctx, "a parameter could not be put back", "file", was.Name, "value", was.Value, "error", err)
				failed = append(failed, explain("put back", "/"+was.Name, paramFile, err))
			}
		}
		return fault.Join(failed...)
	})
	if !done {
		err = &Error{Op: "put back", Object: "/" + old[0].Name, Meaning: "that had not ended", Next: "look what it reads", Pending: true}
	}
	return fault.Join(cause, err)
}

// readBack checks a parameter that can be read; many can only be written.
func (h *Host) readBack(ctx context.Context, dev *Device, param Param, file string) error {
	if strings.HasPrefix(param.Name, "assign_") || strings.HasPrefix(param.Name, "unassign_") {
		return nil
	}
	readable, ok := try(ctx, h, func(s *scan) bool {
		info, err := s.fs.Stat(file)
		return err == nil && info.Mode().Perm()&0o444 != 0
	})
	if ok && !readable {
		return nil
	}
	data, err := h.readFile(ctx, file)
	if err != nil {
		e := explain("create", fmt.Sprintf("%s of %s", param.Name, dev.ID), paramFile, err)
		e.Meaning = "it was written and cannot be read back: " + e.Meaning
		return e
	}
	if got := strings.TrimSpace(string(data)); got != strings.TrimSpace(param.Value) {
		return &Error{
			Op: "create", Object: fmt.Sprintf("%s of %s", param.Name, dev.ID), Meaning: fmt.Sprintf("it reads %q after %q was written", got, param.Value),
			Cause: "the driver does not take this value", Next: "see the driver's documentation of the attribute", Kind: ErrRefused,
		}
	}
	return nil
}
