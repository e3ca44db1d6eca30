package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// param is NAME=VALUE on the command line.
type param mdev.Param

func (p *param) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), "=")
	if !ok || name == "" {
		return usageError(fmt.Sprintf("%q is not NAME=VALUE", text), "write one as --param vgpu_params=frame_rate_limiter=0")
	}
	p.Name, p.Value = name, value
	return nil
}

func params(list []param) []mdev.Param {
	var out []mdev.Param
	for _, p := range list {
		out = append(out, mdev.Param(p))
	}
	return out
}

// request is one --vgpu flag: key=value, separated by commas. params= comes last.
type request vgpu.Request

const requestExample = "write one as --vgpu type=nvidia-22,address=0000:00:08.0,display=on"

func (r *request) UnmarshalText(text []byte) error {
	rest := string(text)
	for rest != "" {
		var field string
		// What follows params= is the parameters' own syntax, commas included.
		if value, ok := strings.CutPrefix(rest, "params="); ok {
			field, rest = "params="+value, ""
		} else {
			field, rest, _ = strings.Cut(rest, ",")
		}
		if err := r.set(field); err != nil {
			return err
		}
	}
	if r.Type == "" {
		return usageError(fmt.Sprintf("%q names no type", text), requestExample)
	}
	return nil
}

func (r *request) set(field string) error {
	key, value, ok := strings.Cut(field, "=")
	if !ok || value == "" {
		return usageError(fmt.Sprintf("%q is not key=value", field), requestExample)
	}
	switch key {
	case "type":
		r.Type = value
	case "parent":
		r.Parent = value
	case "address":
		r.Address = value
	case "alias":
		r.Alias = value
	case "uuid":
		return (*mdevUUID)(&r.UUID).UnmarshalText([]byte(value))
	case "display", "ramfb":
		if value != "on" && value != "off" {
			return usageError(fmt.Sprintf("%s is neither on nor off", field), requestExample)
		}
		if key == "display" {
			r.Display = domain.Switch(value)
		} else {
			r.RAMFB = domain.Switch(value)
		}
	case "params":
		r.Params = append(r.Params, mdev.Param{Name: "vgpu_params", Value: value})
	default:
		return usageError(fmt.Sprintf("%q is not known", key), "use type, parent, address, uuid, alias, display, ramfb or params")
	}
	return nil
}

// machine is what plan and provision are given.
type machine struct {
	Domain   string        `required:"" help:"The domain's document, without the vGPUs; - is stdin." placeholder:"FILE"`
	VGPU     []request     `name:"vgpu" required:"" sep:"none" help:"A vGPU; repeatable." placeholder:"type=T[,parent=P][,address=A][,uuid=U][,alias=A][,display=on][,ramfb=on][,params=…]"`
	Lifetime vgpu.Lifetime `enum:"reserved,while-running" default:"reserved" help:"reserved: the vGPUs exist as long as the VM is defined; while-running: as long as it runs (vgpuctl watch gives those back of VMs that end by themselves)."`
	places
}

func (c *machine) request(g *globals, m *vgpu.Manager) (vgpu.ProvisionRequest, error) {
	req := vgpu.ProvisionRequest{Lifetime: c.Lifetime}
	options, err := c.options(g, m)
	if err != nil {
		return req, err
	}
	req.Placement = options
	for _, r := range c.VGPU {
		req.VGPUs = append(req.VGPUs, vgpu.Request(r))
	}
	if c.Domain == "-" {
		doc, err := g.document()
		if err != nil {
			return req, err
		}
		req.Domain = doc.String()
		return req, nil
	}
	text, err := os.ReadFile(c.Domain)
	if err != nil {
		return req, usageError(err.Error(), "name a file with a libvirt domain document in --domain")
	}
	req.Domain = string(text)
	return req, nil
}
