package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// accel is how QEMU runs the machine's processors.
type accel string

const (
	kvm accel = "kvm"
	tcg accel = "tcg"
)

// trialTime is what a kernel gets to come up under KVM; it needs less than a second.
const trialTime = 10 * time.Second

// kernelUp is what the initramfs writes to the console first.
const kernelUp = "lab: the kernel is up"

func (a accel) arg() string {
	if a == kvm {
		return "kvm"
	}
	return "tcg,thread=multi,tb-size=1024"
}

func (a accel) cpu() string {
	if a == kvm {
		return "host"
	}
	return "max,la57=off" // fewer levels of page tables to walk in software
}

// chooseAccel takes KVM if the image's kernel boots under it. /dev/kvm alone says little:
// in nested and sandboxed hosts it may exist and be of no use. The finding holds until the
// host boots again.
func chooseAccel(ctx context.Context, cacheDir string, image Image, progress *Progress) (accel, error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return tcg, nil
	}
	device.Close()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return tcg, nil
	}
	known := filepath.Join(cacheDir, "kvm-"+strings.TrimSpace(string(boot)))
	if verdict, err := os.ReadFile(known); err == nil {
		return parseVerdict(string(verdict)), nil
	}
	end := progress.Step("try KVM")
	reason := tryKVM(ctx, image)
	if ctx.Err() != nil {
		end(ctx.Err())
		return "", context.Cause(ctx)
	}
	end(nil)
	verdict := "kvm\n"
	if reason != nil {
		verdict = fmt.Sprintf("tcg: %v\n", reason)
		progress.Note("KVM is of no use here (%v): the machine runs in software", reason)
	}
	if old, err := filepath.Glob(filepath.Join(cacheDir, "kvm-*")); err == nil {
		for _, f := range old {
			os.Remove(f)
		}
	}
	// Not remembered, it is tried again the next time.
	_ = os.WriteFile(known, []byte(verdict), 0o644)
	return parseVerdict(verdict), nil
}

func parseVerdict(text string) accel {
	if strings.TrimSpace(text) == string(kvm) {
		return kvm
	}
	return tcg
}

// tryKVM says why the kernel doesn't boot under KVM, or nil.
func tryKVM(ctx context.Context, image Image) error {
	program, err := findProgram("qemu-system-x86_64")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-nodefaults", "-no-user-config", "-no-reboot",
		"-machine", "q35,graphics=off", "-accel", kvm.arg(), "-cpu", kvm.cpu(), "-m", "512", "-display", "none",
		"-kernel", image.kernel(), "-initrd", image.initramfs(), "-append", "console=ttyS0 panic=-1 lab.trial",
		"-serial", "stdio")
	tail := &tailBuffer{limit: 64 << 10}
	cmd.Stdout, cmd.Stderr = tail, tail
	err = runTied(cmd)
	return trialResult(tail.String(), err, errors.Is(ctx.Err(), context.DeadlineExceeded))
}

// trialResult judges a trial by what it wrote, how QEMU ended, and whether its time was up.
func trialResult(console string, exit error, late bool) error {
	switch {
	case strings.Contains(console, kernelUp):
		return nil
	case late && strings.TrimSpace(console) == "":
		return fmt.Errorf("the kernel said nothing in %v", trialTime)
	case late:
		return fmt.Errorf("the kernel was not up after %v", trialTime)
	case exit != nil && strings.Contains(console, "qemu-system"):
		lines := strings.Split(strings.TrimSpace(console), "\n")
		return errors.New(strings.TrimSpace(lines[len(lines)-1]))
	default:
		return errors.New("the kernel died before it was up")
	}
}
