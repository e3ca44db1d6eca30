package lab

import (
	"errors"
	"os"
	"regexp"
	"strings"
)

// causes are what a console says of a machine that failed, and what to make of it, the most
// telling first.
var causes = []struct {
	pattern *regexp.Regexp
	cause   string
}{
	{regexp.MustCompile(`(?i)could not access kvm|failed to initialize kvm|kvm.*permission denied`), "KVM can't be used; remove the file kvm-* in the lab's cache and try again"},
	{regexp.MustCompile(`cannot set up guest memory|Cannot allocate memory`), "this host has too little free memory: ask for a smaller machine, or stop others"},
	{regexp.MustCompile(`No space left on device`), "a disk is full: the temporary directory's, if the message is QEMU's"},
	{regexp.MustCompile(`mount: mounting /dev/vda|EXT4-fs error|VFS: Unable to mount root`), "the machine's disk is damaged or a module is missing: remove the images with `lab clean`"},
	{regexp.MustCompile(`Out of memory: Killed|oom-kill`), "the machine has too little memory: give it more"},
	{regexp.MustCompile(`(?m)^\s*\[.*\] (Oops|BUG|general protection fault|int3|kernel BUG)|Oops: `), "the kernel crashed; under software emulation that happens now and then, and another boot mostly helps"},
	{regexp.MustCompile(`Kernel panic`), "the kernel panicked; the lines above say over what"},
	{regexp.MustCompile(`emergency mode|rescue mode`), "systemd could not start the machine: a unit that it needs failed"},
	{regexp.MustCompile(`Failed to start`), "a service did not start; the lines above name it"},
}

// causeOf finds the likely cause of a machine's end in all that the console and QEMU said.
func causeOf(console string) string {
	for _, c := range causes {
		if c.pattern.MatchString(console) {
			return c.cause
		}
	}
	switch {
	case strings.Contains(console, ready):
		return "the kernel said nothing of it: QEMU was killed, or the machine no longer answers"
	case strings.Contains(console, kernelUp):
		return "the kernel came up, the system did not: this host may be too busy"
	default:
		return "the kernel did not come up: this host may be too busy"
	}
}

// ErrEmulator: the machine died of a defect of the software emulation, and of nothing that
// runs in it. While the kernel changes its own code it guards the place by a breakpoint, which
// a second emulated processor may still meet when the guard has gone. Another machine mostly
// does not.
var ErrEmulator = errors.New("the emulated processor met a breakpoint that was gone")

// breakpoint is how the kernel dies of ErrEmulator.
var breakpoint = regexp.MustCompile(`Oops: int3: `)

var (
	terminalCodes = regexp.MustCompile(`\x1b(\[[0-9;?!]*[A-Za-z]|c|\][^\x07]*\x07)`)
	crash         = regexp.MustCompile(`Kernel panic|Oops: |BUG: |general protection fault`)
)

// readConsole gives what a console has said, without what moves a cursor.
func readConsole(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	text := terminalCodes.ReplaceAllString(string(data), "")
	return strings.TrimSpace(strings.ReplaceAll(text, "\r", ""))
}

// excerpt is the telling part of a console: from where the kernel crashed on, or else the end.
func excerpt(console string, lines int) string {
	all := strings.Split(console, "\n")
	for i, line := range all {
		if crash.MatchString(line) {
			return strings.Join(all[i:min(len(all), i+lines)], "\n")
		}
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
