//go:build integration

package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// parityBoard is a board that the real host and the simulation both have.
type parityBoard struct {
	name   string
	sim    string   // as mdevtest.NewBoard takes it
	needs  string   // what a real host with this board has, below its root
	inLab  bool     // the lab always has it
	parent string   // whose tree is compared
	driver string   // of its devices
	vfs    []string // compared too: what nvidia/ says
	cases  []parityCase
}

// parityCase is a series of steps, from a host without devices; what it leaves
// is removed.
type parityCase struct {
	name  string
	steps []parityStep
}

// parityStep is one operation with its expected result: "ok", an errno's name,
// or what was read.
type parityStep struct {
	op   string
	args []string
	want string
}

func parityID(n string) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%012s", n)
}

// The operations. A device is named by a decimal number, which becomes a UUID.

func create(typ, id, want string) parityStep {
	return parityStep{"create", []string{typ, parityID(id)}, want}
}

func createRaw(typ, data, want string) parityStep {
	return parityStep{"create", []string{typ, data}, want}
}

func remove(id, data, want string) parityStep {
	return parityStep{"remove", []string{parityID(id), data}, want}
}

func available(typ, want string) parityStep {
	return parityStep{"available", []string{typ}, want}
}

func deviceFile(id, file string) string { return "sys/bus/mdev/devices/" + parityID(id) + "/" + file }

func readFile(path, want string) parityStep { return parityStep{"read", []string{path}, want} }

func writeFile(path, data, want string) parityStep {
	return parityStep{"write", []string{path, data}, want}
}

// openGroup and closeGroup hold a device's VFIO group, as a guarded removal does.
func openGroup(id, want string) parityStep {
	return parityStep{"open", []string{deviceFile(id, "")}, want}
}

func closeGroup(id string) parityStep {
	return parityStep{"close", []string{deviceFile(id, "")}, "ok"}
}

// use and release open and close the device itself, as QEMU does.
func use(id, want string) parityStep {
	return parityStep{"use", []string{deviceFile(id, "")}, want}
}

func release(id string) parityStep {
	return parityStep{"release", []string{deviceFile(id, "")}, "ok"}
}

// removeBlocks writes "1" to remove in another process and sees it block;
// removeEnds waits for that process.
func removeBlocks(id string) parityStep {
	return parityStep{"remove-blocks", []string{parityID(id)}, "blocked"}
}

func removeEnds(id, want string) parityStep {
	return parityStep{"remove-ends", []string{parityID(id)}, want}
}

// fill creates n devices from a number on, in one step.
func fill(typ string, from, n int) parityStep {
	s := parityStep{op: "fill", args: []string{typ}, want: "ok"}
	for i := range n {
		s.args = append(s.args, parityID(fmt.Sprint(from+i)))
	}
	return s
}

func steps(parts ...any) []parityStep {
	var all []parityStep
	for _, part := range parts {
		switch part := part.(type) {
		case parityStep:
			all = append(all, part)
		case []parityStep:
			all = append(all, part...)
		default:
			panic(part)
		}
	}
	return all
}

// TestParity runs one table of operations on the simulated and on the real host.
// Result, errno and the tree after each step must be as the table says, and the
// same on both.
func TestParity(t *testing.T) {
	for _, board := range parityBoards {
		t.Run(board.name, func(t *testing.T) {
			if _, err := os.Stat("/" + board.needs); err != nil {
				if board.inLab {
					lacking(t, board.name)
				}
				t.Logf("not compared: this machine has no %s", board.name)
				return
			}
			for _, c := range board.cases {
				t.Run(c.name, func(t *testing.T) {
					b, err := mdevtest.NewBoard(board.sim)
					require.NoError(t, err)
					sim := &parityRun{side: &simSide{Host: mdevtest.New(b)}, board: board}
					real := &parityRun{side: newRealSide(t), board: board}
					defer real.cleanUp(t)
					same := func(what string) {
						t.Helper()
						for _, line := range differences(real.digest(), sim.digest()) {
							t.Errorf("%s: the trees differ: %s", what, line)
						}
					}
					same("before")
					for i, step := range c.steps {
						what := fmt.Sprintf("step %d, %s %s", i, step.op, strings.Join(step.args, " "))
						got, simulated := real.do(step), sim.do(step)
						if got != step.want {
							t.Errorf("%s: the real host says %q, not %q", what, got, step.want)
						}
						if simulated != got {
							t.Errorf("%s: the simulation says %q, not %q", what, simulated, got)
						}
						if step.op != "release" || len(real.pending) == 0 { // else a removal goes on just now
							same("after " + what)
						}
						if t.Failed() {
							break // what comes would only follow from this
						}
					}
				})
			}
		})
	}
}

// TestParityTable: the table holds on the simulation of every board, also of
// those that this machine has not.
func TestParityTable(t *testing.T) {
	for _, board := range parityBoards {
		for _, c := range board.cases {
			t.Run(board.name+"/"+c.name, func(t *testing.T) {
				b, err := mdevtest.NewBoard(board.sim)
				require.NoError(t, err)
				sim := &parityRun{side: &simSide{mdevtest.New(b)}, board: board}
				before := sim.digest()
				for i, step := range c.steps {
					require.Equal(t, step.want, sim.do(step), "step %d: %s %s", i, step.op, strings.Join(step.args, " "))
				}
				sim.cleanUp(t)
				require.Equal(t, before, sim.digest())
			})
		}
	}
}

// differences returns the lines that only one of two digests has.
func differences(real, sim string) []string {
	var lines []string
	inReal, inSim := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(real) {
		inReal[line] = true
	}
	for line := range strings.Lines(sim) {
		if inSim[line] = true; !inReal[line] {
			lines = append(lines, "only simulated: "+line)
		}
	}
	for line := range strings.Lines(real) {
		if !inSim[line] {
			lines = append(lines, "only real: "+line)
		}
	}
	return lines
}

// errnoName is how results are written in the table.
func errnoName(err error) string {
	if err == nil {
		return "ok"
	}
	errno := syscall.Errno(0)
	if !asErrno(err, &errno) {
		return err.Error()
	}
	if name := errnoNames[errno]; name != "" {
		return name
	}
	return errno.Error()
}
