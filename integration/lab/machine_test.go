package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQEMUArgs(t *testing.T) {
	image := Image{"/cache/image-1"}
	args := qemuArgs(image, "/tmp/a,b", tcg, Options{MemoryMiB: 2048, CPUs: 3, Boards: []string{"05:13f2", "41:26b9:20"}})
	after := func(flag string) string {
		i := slices.Index(args, flag)
		if i < 0 || i+1 == len(args) {
			t.Fatalf("no %s", flag)
		}
		return args[i+1]
	}
	for flag, want := range map[string]string{
		"-m": "2048", "-smp": "3", "-accel": "tcg,thread=multi,tb-size=1024", "-kernel": "/cache/image-1/vmlinux",
		"-drive": "if=virtio,format=qcow2,cache=unsafe,file=/tmp/a,,b/disk",
	} {
		if got := after(flag); got != want {
			t.Errorf("%s %s, want %s", flag, got, want)
		}
	}
	if !strings.Contains(after("-append"), " nvbus.gpu=05:13f2,41:26b9:20") {
		t.Errorf("boards: %s", after("-append"))
	}
	if !strings.Contains(after("-netdev"), "127.0.0.1:0-") {
		t.Errorf("a fixed port: %s", after("-netdev"))
	}
	if got := qemuArgs(image, "/tmp", kvm, Options{}); !slices.Contains(got, "kvm") || !slices.Contains(got, "host") {
		t.Errorf("kvm: %q", got)
	}
	if got := kernelArgs(Options{}); strings.Contains(got, "nvbus") {
		t.Errorf("no boards: %s", got)
	}
}

// What would change the kernel's command line is refused before anything is started.
func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{Boards: []string{""}},
		{Boards: []string{"05:13f2 init=/bin/sh"}},
		{Boards: []string{"05:13f2\n"}},
		{Boards: []string{`05"`}},
		{Boards: []string{"05,"}},
		{MemoryMiB: -1},
		{CPUs: -1},
	} {
		if _, err := Build(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if err := (Options{Boards: []string{"05:13f2,41:26b9:20", "61:20f1:16:mig"}}).validate(); err != nil {
		t.Error(err)
	}
}

func TestMemoryFollowsTheHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(file, []byte("MemTotal: 4096000 kB\nMemAvailable:    3072000 kB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if mib, ok := availableMiB(file); !ok || mib != 3000 {
		t.Errorf("got %d, %v", mib, ok)
	}
	if _, ok := availableMiB(file + "x"); ok {
		t.Error("read a file that isn't there")
	}
}

func TestTrialResult(t *testing.T) {
	for _, c := range []struct {
		name, console string
		exit          error
		late          bool
		accel         accel
		says          string
	}{
		{"boots", "[ 0.1] Linux\n" + kernelUp + "\n", nil, false, kvm, ""},
		{"silent", "", errors.New("signal: killed"), true, tcg, "said nothing"},
		{"stuck", "[ 0.1] Linux", errors.New("signal: killed"), true, tcg, "not up after"},
		{"no module", "qemu-system-x86_64: failed to initialize kvm: Operation not permitted\n", errors.New("exit status 1"), false, tcg, "not permitted"},
		{"panics", "[ 0.1] Kernel panic", nil, false, tcg, "died"},
	} {
		err := trialResult(c.console, c.exit, c.late)
		verdict := "kvm\n"
		if err != nil {
			verdict = "tcg: " + err.Error()
		}
		if got := parseVerdict(verdict); got != c.accel || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
}

func TestCauseOf(t *testing.T) {
	for console, want := range map[string]string{
		"": "did not come up",
		"[    1.2] Oops: int3: 0000 [#1] PREEMPT SMP\n[ 1.3] Kernel panic - not syncing: Fatal exception": "crashed",
		"[ 1.3] Kernel panic - not syncing: Attempted to kill init":                                       "panicked",
		"mount: mounting /dev/vda on /root failed: No such file":                                          "disk is damaged",
		"qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory":                 "too little free memory",
		"qemu-system-x86_64: Could not access KVM kernel module: Permission denied":                       "KVM",
		"You are in emergency mode.":  "systemd",
		kernelUp + "\nsystemd[1]: ok": "the system did not",
		kernelUp + "\n" + ready:       "QEMU was killed",
	} {
		if got := causeOf(console); !strings.Contains(got, want) {
			t.Errorf("%q: %s", console, got)
		}
	}
}

func TestConsole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "console")
	if err := os.WriteFile(file, []byte("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\none\r\ntwo\r\nthree\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	console := readConsole(file)
	if console != "SeaBIOS\none\ntwo\nthree" {
		t.Errorf("read %q", console)
	}
	if got := excerpt(console, 2); got != "two\nthree" {
		t.Errorf("its end: %q", got)
	}
	if got := excerpt(console, 9); got != console {
		t.Errorf("all of it: %q", got)
	}
	if got := excerpt("a\n[ 2.2] Kernel panic - not syncing\nb\nc\nd", 3); got != "[ 2.2] Kernel panic - not syncing\nb\nc" {
		t.Errorf("its crash: %q", got)
	}
	if got := readConsole(file + "x"); got != "" {
		t.Errorf("a console that isn't there: %q", got)
	}
}

func TestForwardedPort(t *testing.T) {
	const text = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n" +
		"  TCP[HOST_FORWARD]  13       127.0.0.1 34709       10.0.2.15    22     0     0\r\n"
	if port, err := forwardedPort(text); err != nil || port != 34709 {
		t.Errorf("got %d, %v", port, err)
	}
	if _, err := forwardedPort("nothing"); err == nil {
		t.Error("a port out of nothing")
	}
}

type scripted struct {
	statuses []int
	envs     []string
	reboots  int
	broken   error
}

func (s *scripted) Run(_ context.Context, c Command) error {
	s.envs = append(s.envs, strings.Join(c.Env, " "))
	status := s.statuses[min(len(s.envs), len(s.statuses))-1]
	if status == 0 {
		return nil
	}
	return &ExitError{Status: status}
}

func (s *scripted) Reboot(context.Context) error { s.reboots++; return s.broken }

// A command that exits with 194 is run again after a reboot, and can tell by the variable
// which boot it is in; any other status is its last.
func TestThroughReboots(t *testing.T) {
	s := &scripted{statuses: []int{194, 194, 3}}
	err := throughReboots(t.Context(), s, Command{Args: []string{"x"}, Env: []string{"A=b"}})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 3 || s.reboots != 2 {
		t.Errorf("error %v, %d reboots", err, s.reboots)
	}
	want := []string{"A=b VGPUKIT_LAB_BOOT=1", "A=b VGPUKIT_LAB_BOOT=2", "A=b VGPUKIT_LAB_BOOT=3"}
	if !slices.Equal(s.envs, want) {
		t.Errorf("environments %q", s.envs)
	}

	s = &scripted{statuses: []int{194}}
	if err := throughReboots(t.Context(), s, Command{}); err == nil || s.reboots != 9 {
		t.Errorf("endless reboots: %v after %d", err, s.reboots)
	}
	s = &scripted{statuses: []int{194}, broken: errors.New("no power")}
	if err := throughReboots(t.Context(), s, Command{}); !errors.Is(err, s.broken) {
		t.Errorf("a failed reboot: %v", err)
	}
}

// The machine's shell gets exactly the words that were given.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	line, err := Command{
		Args: []string{"sh", "-c", `printf '%s|' "$@" "$X" "$VGPUKIT_LAB" "$PWD"`, "sh", "it's", "a  b", "$HOME", "", "\n"},
		Env:  []string{"X=y z'"}, Dir: dir,
	}.line()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", line).Output()
	if want := "it's|a  b|$HOME||\n|y z'|1|" + dir + "|"; err != nil || string(out) != want {
		t.Errorf("got %q, %v", out, err)
	}
	for _, bad := range []Command{
		{}, {Args: []string{"x"}, Shell: "y"}, {Args: []string{"x"}, Env: []string{"NOVALUE"}}, {Args: []string{"x"}, Env: []string{"-i=x"}},
	} {
		if _, err := bad.line(); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestGuestTarget(t *testing.T) {
	for _, c := range [][3]string{
		{"/x/a.test", "", "/lab/a.test"},
		{"/x/a.test", "b", "/lab/b"},
		{"/x/a.test", "d/", "/lab/d/a.test"},
		{"/x/a.test", "/usr/bin/", "/usr/bin/a.test"},
		{"/x/dir/", "/lab", "/lab"},
	} {
		if got := guestTarget(c[0], c[1]); got != c[2] {
			t.Errorf("%q to %q: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// A directory arrives as it was: names, contents, modes.
func TestPackAndUnpack(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	if err := os.MkdirAll(filepath.Join(from, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "sub/f"), bytes.Repeat([]byte("x"), 100000), 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := pack(&archive, from, "name"); err != nil {
		t.Fatal(err)
	}
	whole := archive.Bytes()
	if err := unpack(&archive, "name", to); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(to, "sub/f"))
	if err != nil || info.Size() != 100000 || info.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v", info, err)
	}
	// An archive of another name would be written elsewhere.
	if err := unpack(bytes.NewReader(whole), "other", to); err == nil {
		t.Error("an archive that leads elsewhere was unpacked")
	}
	if err := unpack(bytes.NewReader(whole[:5000]), "name", to); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an archive: %v", err)
	}
}

// A command ends when its context does, with everything that it started.
func TestOutputEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	cmd := exec.CommandContext(ctx, "sleep", "1000")
	if _, err := output(ctx, cmd); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := output(t.Context(), exec.Command("sh", "-c", "echo the reason >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("error %v", err)
	}
}

func TestBothReportsTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	err := both(t.Context(),
		func(context.Context) error { return boom },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	a, b := p.Step("one"), p.Step("two")
	b(errors.New("x"))
	p.Note("hm %d", 3)
	a(nil)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "lab: two: 0.0 s, failed") || lines[1] != "lab: hm 3" || !strings.HasPrefix(lines[2], "lab: one: ") {
		t.Errorf("got %q", lines)
	}
	var silent *Progress
	silent.Step("x")(nil)
	silent.Note("x")
}

// What a host lacks is named by package, each once.
func TestMissing(t *testing.T) {
	got := missing([]need{
		{program: "sh", pkg: "dash"},
		{program: "no-such-program-1", pkg: "one"},
		{file: "/no/such/file", pkg: "one"},
		{program: "no-such-program-2", pkg: "two", unless: true},
		{file: "/", pkg: "base"},
	})
	if !slices.Equal(got, []string{"one"}) {
		t.Errorf("got %q", got)
	}
}

// Only what kills a software-emulated machine by a breakpoint that was gone is the
// emulation's fault; all else is a reason to fail.
func TestBlameKnowsTheEmulatorsDefect(t *testing.T) {
	for _, c := range []struct {
		accel   accel
		console string
		want    bool
	}{
		{tcg, "[  458.651198] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI", true},
		{kvm, "[  458.651198] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI", false},
		{tcg, "[  12.0] Oops: general protection fault, probably for non-canonical address", false},
		{tcg, "[  12.0] BUG: kernel NULL pointer dereference\n[ 12.1] Oops: Oops: 0002", false},
		{tcg, "", false},
	} {
		m := &Machine{accel: c.accel, dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(m.dir, "console"), []byte(c.console), 0o600); err != nil {
			t.Fatal(err)
		}
		err := m.blame(errors.New("the connection broke"), "")
		if got := errors.Is(err, ErrEmulator); got != c.want {
			t.Errorf("%s, %q: %v", c.accel, c.console, err)
		}
	}
}
