package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// document reads the domain document on stdin.
func (g *globals) document() (*domain.Document, error) {
	text, err := io.ReadAll(g.stdin)
	if err != nil {
		return nil, fmt.Errorf("read the document on stdin: %w", err)
	}
	return domain.Parse(text)
}

type xmlCmd struct {
	Add       xmlAddCmd       `cmd:"" help:"Put a vGPU into the document."`
	Remove    xmlRemoveCmd    `cmd:"" help:"Take out exactly what add put in."`
	Addresses xmlAddressesCmd `cmd:"" help:"Show the guest PCI addresses in use and free ones."`
}

// which names a vGPU in a document.
type which struct {
	UUID mdevUUID `name:"uuid" xor:"which" required:"" help:"The mdev's UUID." placeholder:"U"`
	VF   string   `name:"vf" xor:"which" required:"" help:"The virtual function's address on the host." placeholder:"ADDR"`
}

func (w which) id() string {
	if w.VF != "" {
		return w.VF
	}
	return uuid.UUID(w.UUID).String()
}

type xmlAddCmd struct {
	which
	Address string        `help:"Guest PCI address; left out: the planner chooses, for vfio-pci; none: libvirt does." placeholder:"A"`
	Model   string        `help:"vfio-pci, vfio-ccw or vfio-ap (default vfio-pci)." placeholder:"M"`
	Display domain.Switch `enum:",on,off" default:"" help:"on or off: show what the vGPU shows." placeholder:"on"`
	RAMFB   domain.Switch `name:"ramfb" enum:",on,off" default:"" help:"on or off: a boot display until the guest's driver is there." placeholder:"on"`
}

func (c *xmlAddCmd) Run(g *globals) error {
	doc, err := g.document()
	if err != nil {
		return err
	}
	h := domain.Hostdev{UUID: uuid.UUID(c.UUID), VF: c.VF, Model: c.Model, Display: c.Display, RAMFB: c.RAMFB}
	switch {
	case c.Address == "none", c.Address == "" && !h.OnPCI():
	case c.Address == "":
		free, err := doc.Free(1, domain.AddressRequest{})
		if err != nil {
			return err
		}
		h.Address = &free[0]
	default:
		a, err := domain.ParseAddress(c.Address)
		if err != nil {
			return err
		}
		h.Address = &a
	}
	if doc, err = doc.Add(h); err != nil {
		return err
	}
	_, err = g.stdout.Write(doc.Bytes())
	return err
}

type xmlRemoveCmd struct{ which }

func (c *xmlRemoveCmd) Run(g *globals) error {
	doc, err := g.document()
	if err != nil {
		return err
	}
	if doc, err = doc.Remove(c.id()); err != nil {
		return err
	}
	_, err = g.stdout.Write(doc.Bytes())
	return err
}

type xmlAddressesCmd struct {
	Free int `default:"1" help:"How many free addresses to show, if there are so many." placeholder:"N"`
}

// usedAddress is one address in use, for scripts.
type usedAddress struct {
	Address  string `json:"address"`
	By       string `json:"by"`
	Implicit bool   `json:"implicit"` // the document does not say so, the machine type does
}

func (c *xmlAddressesCmd) Run(g *globals) error {
	if c.Free < 0 {
		return usageError("--free is negative", "ask for 0 or more free addresses")
	}
	doc, err := g.document()
	if err != nil {
		return err
	}
	answer := struct {
		Used []usedAddress    `json:"used"`
		Free []domain.Address `json:"free"`
	}{Used: []usedAddress{}, Free: []domain.Address{}}
	for _, u := range doc.Used() {
		answer.Used = append(answer.Used, usedAddress{Address: u.Address.String(), By: u.By, Implicit: u.Implicit})
	}
	var unknown error // which are free
	if c.Free > 0 {
		var free []domain.Address
		free, unknown = doc.FreeUpTo(c.Free, domain.AddressRequest{})
		answer.Free = append(answer.Free, free...)
	}
	if g.Output == "json" {
		return errors.Join(g.json(answer), unknown)
	}
	rows := [][]string{{"ADDRESS", "USED BY"}}
	for _, u := range answer.Used {
		if u.Implicit {
			u.By += " (not written, but always there)"
		}
		rows = append(rows, []string{u.Address, u.By})
	}
	for _, a := range answer.Free {
		rows = append(rows, []string{a.String(), "(free)"})
	}
	return errors.Join(table(g.stdout, rows), unknown)
}

type qemuArgsCmd struct {
	Syntax string `enum:"json,classic" default:"json" help:"json, as libvirt writes them, or classic."`
}

func (c *qemuArgsCmd) Run(g *globals) error {
	doc, err := g.document()
	if err != nil {
		return err
	}
	args, err := doc.QEMUArgs(domain.QEMUOptions{Classic: c.Syntax == "classic"})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return g.json(append([]string{}, args...)) // none are a list too
	}
	for i := 0; i < len(args); i++ {
		line := args[i]
		if i+1 < len(args) && strings.HasPrefix(line, "-") && !strings.HasPrefix(args[i+1], "-") {
			i++
			line += " " + quote(args[i])
		}
		fmt.Fprintln(g.stdout, line)
	}
	return nil
}

// quote makes an argument safe for a shell.
func quote(s string) string {
	if strings.ContainsAny(s, " \t\n\"'{}$`\\*?[]()<>|&;#~!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
