package mdevtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set chooses what an option of a board's spec says.
func (b *Board) set(option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "numa":
		b.NUMANode, err = strconv.Atoi(value)
	case "vfs":
		b.VFs, err = strconv.Atoi(value)
	case "driver":
		b.Driver = value
		_, err = major(value)
	case "vendor-vfio":
		b.VendorVFIO = true
	case "vfio-pci-types":
		b.VFIOPCITypes, err = strconv.Atoi(value)
	case "ecc":
		b.ECC = true
	case "old-driver":
		b.OldDriver = true
	case "mixed":
		b.Mixed = true
	case "mig":
		b.MIG = true
		err = b.addInstances(value)
	case "instance":
		b.GPUInstances = append(b.GPUInstances, value)
	case "clean-up":
		b.CleanUp, err = time.ParseDuration(value)
	default:
		err = errors.New("no such option")
	}
	return err
}

// addInstances reads "2g.10gb:3": a profile, and how many GPU instances of it.
func (b *Board) addInstances(text string) error {
	if text == "" {
		return nil
	}
	profile, count, several := strings.Cut(text, ":")
	n := 1
	if several {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 0 || n > maxInstances {
			return fmt.Errorf("%q is not a number of GPU instances", count)
		}
	}
	b.GPUInstances = append(b.GPUInstances, slices.Repeat([]string{profile}, n)...)
	return nil
}

// maxInstances is more GPU instances than any GPU has.
const maxInstances = 16
