package mdev

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// nvidiaDir is where NVIDIA's driver has a device's attributes.
const nvidiaDir = "nvidia"

// notParams are files of a device, or in its nvidiaDir, that are no parameters.
var notParams = []string{
	"remove", "uevent", "driver", "driver_override", "power", "subsystem", "mdev_type", "iommu_group", "vfio-dev", nvidiaDir,
	path.Base(currentFile), path.Base(creatableFile),
}

// apParams are what an AP matrix takes: Linux Documentation/arch/s390/vfio-ap.rst.
var apParams = []string{
	"assign_adapter", "assign_domain", "assign_control_domain", "unassign_adapter", "unassign_domain", "unassign_control_domain", "ap_config",
}

// What may be named, for people.
const (
	vfParams   = "name a file of its directory nvidia: vgpu_params, placement_id, gpu_instance_id"
	mdevParams = "name a file of the device's own directory or of its directory nvidia: vgpu_params, placement_id"
	anyParams  = "name one of the device's own files, as its driver documents them: vgpu_params or placement_id of an NVIDIA vGPU, assign_adapter and its like of an AP matrix"
)

// named tells whether the name can be a parameter's on any device.
func (p Param) named() bool {
	name, _ := strings.CutPrefix(p.Name, nvidiaDir+"/")
	return validName(name) && !strings.HasPrefix(name, ".") && !slices.Contains(notParams, name)
}

// fits refuses a name that no device of this kind has.
func (p Param) fits(op string, framework Framework, deviceAPI string) error {
	if !p.named() {
		return p.refused(op, "this cannot be an attribute of a device", anyParams)
	}
	if framework == FrameworkMdev && deviceAPI == "vfio-ap" && !slices.Contains(apParams, p.Name) {
		return p.refused(op, "an AP matrix has no such parameter", "name one that its driver documents: "+strings.Join(apParams, ", "))
	}
	return nil
}

func (p Param) refused(op, meaning, next string) *Error {
	return &Error{Op: op, Object: fmt.Sprintf("parameter %q", p.Name), Meaning: meaning, Next: next, Kind: ErrInvalid}
}

// paramFiles finds the files of parameters.
func (h *Host) paramFiles(ctx context.Context, dev Device, params []Param) ([]string, error) {
	if len(params) == 0 {
		return nil, nil
	}
	return look(ctx, h, "create", dev.ID, func(s *scan) ([]string, error) {
		files := make([]string, len(params))
		for i, param := range params {
			var err error
			if files[i], err = s.paramFile(&dev, param); err != nil {
				return nil, err
			}
		}
		return files, nil
	})
}

// paramFile finds a parameter's file: of a virtual function in its nvidiaDir only, of an
// mdev also in its own directory. It is a file there, and not elsewhere by a link.
func (s *scan) paramFile(dev *Device, param Param) (string, error) {
	if err := param.fits("create", dev.Framework, dev.DeviceAPI); err != nil {
		return "", err
	}
	names, allowed := []string{param.Name}, mdevParams
	if !strings.HasPrefix(param.Name, nvidiaDir+"/") {
		names = append(names, nvidiaDir+"/"+param.Name)
	}
	if dev.Framework == FrameworkVendorVFIO {
		names, allowed = names[len(names)-1:], vfParams
	}
	for _, name := range names {
		file := dev.Path + "/" + name
		if s.isLink(path.Dir(file)) || s.isLink(file) {
			return "", param.refused("create", "it leads to what is not "+dev.ID+"'s own", allowed)
		}
		info, err := s.fs.Stat(file)
		switch {
		case err == nil && info.Mode().IsRegular():
			return file, nil
		case err == nil:
			return "", param.refused("create", "it is not a file of "+dev.ID, allowed)
		case !absent(err):
			return "", explain("create", fmt.Sprintf("%s of %s", param.Name, dev.ID), paramFile, err)
		}
	}
	return "", &Error{
		Op: "create", Object: fmt.Sprintf("%s of %s", param.Name, dev.ID), Meaning: "the device has no such attribute",
		Cause: "another driver's, or a newer driver's, parameter", Next: "leave it out, or " + allowed, Kind: ErrUnsupported,
	}
}

func (s *scan) isLink(name string) bool {
	_, err := s.fs.Readlink(name)
	return err == nil
}
