// Command vgpuctl does from a shell what the library does in a program: it shows
// a host's vGPUs, makes and removes them, edits domain documents, and brings VMs
// with vGPUs up and down.
//
// Exit status: 0 done, 1 failed, 2 wrong use, 3 refused because something is in
// use or there is no capacity, 4 not found. Errors go to stderr: one line that
// says what, one line that says what to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// Exit statuses.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 4
)

// globals are the flags that every command has.
type globals struct {
	Root    string `default:"/" help:"Directory that holds sys/, dev/ and proc/." placeholder:"DIR"`
	Connect string `help:"libvirt URI (default: LIBVIRT_DEFAULT_URI, then qemu:///system)." placeholder:"URI"`
	State   string `default:"/var/lib/vgpukit" help:"Directory of the journal, the claims and the locks." placeholder:"DIR"`
	Output  string `short:"o" enum:"table,json" default:"table" help:"Output: table or json."`

	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

type cli struct {
	globals

	Inventory inventoryCmd `cmd:"" help:"Show parents, their types with what is left, and vGPUs with who holds them."`
	Create    createCmd    `cmd:"" help:"Make a bare vGPU; prints its UUID or VF address."`
	Remove    removeCmd    `cmd:"" help:"Remove a bare vGPU."`
	XML       xmlCmd       `cmd:"" name:"xml" help:"Edit a domain document, from stdin to stdout."`
	QEMUArgs  qemuArgsCmd  `cmd:"" name:"qemu-args" help:"Print QEMU's -device arguments for the vGPUs of a document on stdin."`
	Plan      planCmd      `cmd:"" help:"Show where a VM's vGPUs would go, and do nothing."`
	Provision provisionCmd `cmd:"" help:"Make a VM's vGPUs and define the VM."`
	Start     startCmd     `cmd:"" help:"Start a VM, its vGPUs first."`
	Stop      stopCmd      `cmd:"" help:"Stop a VM."`
	Teardown  teardownCmd  `cmd:"" help:"Stop and undefine a VM and remove its vGPUs."`
	Status    statusCmd    `cmd:"" help:"Show one VM with its vGPUs, or all."`
	Reconcile reconcileCmd `cmd:"" help:"Finish or undo what was interrupted; remove what is left over."`
	Simulate  simulateCmd  `cmd:"" help:"Mount a host with simulated GPUs."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program, with its surroundings given; it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("vgpuctl"),
		kong.Description("Give KVM virtual machines their vGPUs."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(stderr, "vgpuctl:", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "vgpuctl: %v\nvgpuctl --help shows the commands and their flags.\n", err)
		return exitUsage
	}
	c.ctx, c.stdin, c.stdout, c.stderr = ctx, stdin, stdout, stderr
	if err := command.Run(&c.globals); err != nil {
		report(stderr, err)
		return exitStatus(err)
	}
	return 0
}

// report writes what went wrong and what to do, a line each.
func report(w io.Writer, err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintln(w, "vgpuctl:", text)
	next := "nothing more is known; -o json and the system's log may tell more"
	var hint interface{ Hint() string }
	if errors.As(err, &hint) && hint.Hint() != "" {
		next = hint.Hint()
	}
	fmt.Fprintln(w, "what to do:", next)
}

func exitStatus(err error) int {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case is(errUsage, vgpu.ErrInvalid, mdev.ErrInvalid, domain.ErrInvalid):
		return exitUsage
	case is(vgpu.ErrInUse, vgpu.ErrNoCapacity, vgpu.ErrBusy, mdev.ErrInUse, mdev.ErrNoCapacity, domain.ErrInUse):
		return exitRefused
	case is(vgpu.ErrNotFound, mdev.ErrNotFound, domain.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// errUsage marks errors of the command line that kong does not see.
var errUsage = errors.New("wrong use")

// usageError is bad input with what to do about it.
type usageError struct{ what, next string }

func (e *usageError) Error() string { return e.what }
func (e *usageError) Hint() string  { return e.next }
func (e *usageError) Unwrap() error { return errUsage }
