// Command vgpuctl does from a shell what the library does in a program: it shows
// a host's vGPUs, makes and removes them, edits domain documents, and brings VMs
// with vGPUs up and down.
//
// Exit status: 0 done, 1 failed, 2 wrong use, 3 refused because something is in
// use or there is no capacity, 4 not found. Errors go to stderr: one line that
// says what, one line that says what to do; with -o json one object that says the
// same and more. What is on stdout is an answer.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// description heads --help.
const description = `Give KVM virtual machines their vGPUs.

Exit status: 0 done, 1 failed, 2 wrong use (the same command will never do), 3 refused because something is in use
or there is no capacity (it may do later), 4 not found.

Failures go to stderr: a line that says what, and a line that says what to do. With -o json they are one object on
stderr: {"error", "kind", "next", "vm", "step", "object", "errno", "pending", "libvirt_code", "did_you_mean", "reasons"},
of which error and kind are always there. kind is one of invalid (2); in_use, busy, no_capacity (3); not_found (4); exists, state,
permission, unsupported, refused, unavailable, timeout, interrupted, failed (1). pending: the kernel has not answered,
and what was asked for may still be done. reasons has for each parent why a VM's vGPU was not placed there.`

// globals are the flags that every command has.
type globals struct {
	Root    string `default:"/" help:"Directory that holds sys/, dev/ and proc/ (default: /)." placeholder:"DIR"`
	Connect string `help:"libvirt URI (default: LIBVIRT_DEFAULT_URI, then qemu:///system)." placeholder:"URI"`
	State   string `help:"Directory of the grants, the owners and the locks (default: var/lib/vgpukit below --root)." placeholder:"DIR"`
	Output  string `short:"o" enum:"table,json" default:"table" help:"Output: table or json, of which scripts can rely on json."`

	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

type cli struct {
	globals

	Inventory  inventoryCmd  `cmd:"" help:"Show parents, their types with what is left, and vGPUs with who holds them."`
	Create     createCmd     `cmd:"" help:"Make a bare vGPU; prints its UUID or VF address."`
	Remove     removeCmd     `cmd:"" help:"Remove a bare vGPU; a VM's only with --force."`
	XML        xmlCmd        `cmd:"" name:"xml" help:"Edit a domain document, from stdin to stdout."`
	QEMUArgs   qemuArgsCmd   `cmd:"" name:"qemu-args" help:"Print QEMU's -device arguments for the vGPUs of a document on stdin."`
	Plan       planCmd       `cmd:"" help:"Show where a VM's vGPUs would go, and do nothing."`
	Provision  provisionCmd  `cmd:"" help:"Make a VM's vGPUs and define the VM."`
	Adopt      adoptCmd      `cmd:"" help:"Take VMs into our care that were granted nothing here: clones, or after the loss of the state directory."`
	Forget     forgetCmd     `cmd:"" help:"End our care of a VM; it and its vGPUs stay as they are."`
	Update     updateCmd     `cmd:"" help:"Bring a VM's document to what the VM was granted, or the other way."`
	Start      startCmd      `cmd:"" help:"Start a VM, its vGPUs first."`
	Stop       stopCmd       `cmd:"" help:"Stop a VM."`
	Teardown   teardownCmd   `cmd:"" help:"Stop and undefine a VM and remove its vGPUs."`
	Status     statusCmd     `cmd:"" help:"Show one VM with its vGPUs, or all."`
	List       listCmd       `cmd:"" help:"Show all VMs that have vGPUs of ours."`
	Reconcile  reconcileCmd  `cmd:"" help:"Finish or undo what was interrupted; remove what is left over."`
	Policy     policyCmd     `cmd:"" help:"Show, set or clear what may be placed on GPUs."`
	Cordon     cordonCmd     `cmd:"" help:"Let nothing new be placed on a GPU; what it runs stays."`
	Uncordon   uncordonCmd   `cmd:"" help:"Let vGPUs be placed on a GPU again."`
	Quarantine quarantineCmd `cmd:"" help:"Let nothing be placed on a virtual function, or release it."`
	State      stateCmd      `cmd:"" help:"See to the state directory."`
	Watch      watchCmd      `cmd:"" help:"Give back the vGPUs of VMs that end by themselves, until ctrl-C."`
	Simulate   simulateCmd   `cmd:"" help:"Mount a host with simulated GPUs."`
}

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup does
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop) // a second ctrl-C ends at once what is still being undone
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
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		return report(stderr, err, false)
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		return report(stderr, misuse(err), wantsJSON(args))
	}
	c.ctx, c.stdin, c.stdout, c.stderr = ctx, stdin, answer{stdout}, stderr
	if err := command.Run(&c.globals); err != nil {
		return report(stderr, err, c.Output == "json")
	}
	return 0
}

// misuse is what kong says of the command line, with where to read on.
func misuse(err error) error {
	next, own, parse := "see vgpuctl --help", new(ownError), new(kong.ParseError)
	if errors.As(err, &own) {
		next = own.next
	} else if errors.As(err, &parse) && parse.Context.Selected() != nil {
		next = "see " + parse.Context.Selected().FullPath() + " --help"
	}
	return usageError(err.Error(), next)
}

// wantsJSON tells whether a command line that cannot be understood asks for JSON.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		if (arg == "-o" || arg == "--output") && i+1 < len(args) {
			arg += "=" + args[i+1]
		}
		if slices.Contains([]string{"-o=json", "-ojson", "--output=json"}, arg) {
			return true
		}
	}
	return false
}
