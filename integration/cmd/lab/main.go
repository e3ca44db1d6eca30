// Command lab builds and boots a machine for trying vGPUs without a GPU, and runs commands in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/vgpukit/vgpukit/integration/lab"
)

const usage = `usage:
  lab build [--nvsim]                      make the machine's image, unless it is there
  lab run [flags] [--] COMMAND [ARG...]    boot a machine, run a command in it as root, stop it
  lab shell [flags]                        the same with a shell on this terminal
  lab clean                                remove all images that are not in use

flags of run and shell:
  --boards SPEC       simulate NVIDIA boards, as the module nvbus describes them; repeatable
  --nvsim             have the simulation's modules there even without boards
  --push FILE[:DEST]  copy a file or directory in first, to /lab unless DEST says where; repeatable
  --pull GUEST:HOST   copy a file or directory out afterwards, also when the command failed; repeatable
  --env NAME=VALUE    set a variable for the command; repeatable
  --memory MIB        the machine's memory
  --timeout TIME      end it all after this time (run: 15m)
  --again             if the machine dies of a defect of its emulation, run the command once more, from the
                      start, in another machine (run only)

The exit status of run is the command's; 125 means that the lab itself failed. A command that
exits with 194 has the machine rebooted and is run again, with VGPUKIT_LAB_BOOT one higher.
`

// labFailed is the exit status when it is not the command that failed.
const labFailed = 125

// pullTime is what files get to come back when the command's time is up.
const pullTime = time.Minute

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type flags struct {
	options          lab.Options
	boards           list
	push, pull, vars list
	timeout          time.Duration
	again            bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	var exit *lab.ExitError
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
	case errors.As(err, &exit):
		os.Exit(exit.Status)
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		var wrong *wrongUse
		if errors.As(err, &wrong) {
			os.Exit(2)
		}
		os.Exit(labFailed)
	}
}

type wrongUse struct{ text string }

func (w *wrongUse) Error() string { return w.text + "; see lab --help" }

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return &wrongUse{"no command"}
	}
	verb, args := args[0], args[1:]
	f, rest, err := parse(verb, args)
	if err != nil {
		return err
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("the time of %v is up", f.timeout))
		defer cancel()
	}
	switch verb {
	case "build":
		image, err := lab.Build(ctx, f.options)
		if err != nil {
			return err
		}
		fmt.Println(image.Dir)
		return nil
	case "clean":
		return lab.Clean(f.options)
	case "run":
		if len(rest) == 0 {
			return &wrongUse{"no command to run in the machine"}
		}
	}
	image, err := lab.Build(ctx, f.options)
	if err != nil {
		return err
	}
	err = inMachine(ctx, image, verb, f, rest)
	if f.again && errors.Is(err, lab.ErrEmulator) && ctx.Err() == nil {
		f.options.Progress.Note("%v", err)
		f.options.Progress.Note("again, from the start, in another machine")
		err = inMachine(ctx, image, verb, f, rest)
	}
	return err
}

func inMachine(ctx context.Context, image lab.Image, verb string, f flags, args []string) error {
	m, err := lab.Boot(ctx, image, f.options)
	if err != nil {
		return err
	}
	return errors.Join(use(ctx, m, verb, f, args), m.Close())
}

func parse(verb string, args []string) (f flags, rest []string, err error) {
	switch verb {
	case "build", "run", "shell", "clean":
	case "help", "-h", "-help", "--help":
		return f, nil, flag.ErrHelp
	default:
		return f, nil, &wrongUse{fmt.Sprintf("unknown command %q", verb)}
	}
	f.options.Progress = lab.NewProgress(os.Stderr)
	set := flag.NewFlagSet("lab "+verb, flag.ContinueOnError)
	set.SetOutput(discard{})
	if verb != "clean" {
		set.BoolVar(&f.options.NVSim, "nvsim", false, "")
	}
	if verb == "run" {
		set.BoolVar(&f.again, "again", false, "")
	}
	if verb == "run" || verb == "shell" {
		set.Var(&f.boards, "boards", "")
		set.Var(&f.push, "push", "")
		set.Var(&f.pull, "pull", "")
		set.Var(&f.vars, "env", "")
		set.IntVar(&f.options.MemoryMiB, "memory", 0, "")
		preset := 15 * time.Minute
		if verb == "shell" {
			preset = 0
		}
		set.DurationVar(&f.timeout, "timeout", preset, "")
	}
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return f, nil, err
		}
		return f, nil, &wrongUse{err.Error()}
	}
	if verb != "run" && set.NArg() > 0 {
		return f, nil, &wrongUse{fmt.Sprintf("lab %s takes no argument %q", verb, set.Arg(0))}
	}
	for _, p := range f.pull {
		if guest, host, ok := strings.Cut(p, ":"); !ok || guest == "" || host == "" {
			return f, nil, &wrongUse{fmt.Sprintf("--pull %q: want GUEST:HOST", p)}
		}
	}
	for _, p := range f.push {
		file, _, _ := strings.Cut(p, ":")
		if _, err := os.Stat(file); err != nil {
			return f, nil, &wrongUse{fmt.Sprintf("--push: %v", err)}
		}
	}
	f.options.Boards = f.boards
	return f, set.Args(), nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// use does in a machine what the flags say.
func use(ctx context.Context, m *lab.Machine, verb string, f flags, args []string) error {
	for _, p := range f.push {
		file, dest, _ := strings.Cut(p, ":")
		if err := m.Push(ctx, file, dest); err != nil {
			return err
		}
	}
	var err error
	if verb == "shell" {
		err = m.Shell(ctx)
	} else {
		err = m.RunThroughReboots(ctx, lab.Command{
			Args: args, Env: f.vars, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		})
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The files may tell why the time was up.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), pullTime)
		defer cancel()
	}
	for _, p := range f.pull {
		guest, host, _ := strings.Cut(p, ":")
		if e := m.Pull(ctx, guest, host); e != nil {
			if err == nil {
				err = e
			} else {
				fmt.Fprintln(os.Stderr, "lab:", e)
			}
		}
	}
	return err
}
