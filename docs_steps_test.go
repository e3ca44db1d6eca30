package vgpukit_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// architecture is the document that is held to what the code does.
func architecture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	return string(text)
}

// table returns the rows of the table below a heading whose first column is named so,
// without their marks.
func table(t *testing.T, text, heading, column string) (rows [][]string) {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n### "+heading+"\n")
	require.True(t, ok, "no heading %q", heading)
	section, _, _ = strings.Cut(section, "\n#")
	within := false
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			within = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`*")
		}
		switch {
		case cells[0] == column:
			within = true
		case within && strings.Trim(cells[0], "-:") != "":
			rows = append(rows, cells)
		}
	}
	return rows
}

// TestDocsSteps: docs/architecture.md tells the steps of each call as an Observer sees
// them.
func TestDocsSteps(t *testing.T) {
	text := architecture(t)
	for verb, calls := range scenarios {
		told := map[string]string{}
		for _, row := range table(t, text, verb, "call") {
			told[row[0]] = row[1]
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(calls)), slices.Collect(maps.Keys(told)), verb)
		for name, s := range calls {
			t.Run(verb+", "+name, func(t *testing.T) {
				w := newWorld(t, "docs")
				s.before(w)
				steps, err := w.run(s.call(w), lives)
				assert.Equal(t, s.fails, err != nil, "%v", err)
				assert.Equal(t, told[name], cmp.Or(strings.Join(steps, ", "), "none"))
			})
		}
	}
}

// TestDocsOrder: the steps that docs/architecture.md explains for a verb are those of
// its calls, in their order.
func TestDocsOrder(t *testing.T) {
	text := architecture(t)
	for verb := range scenarios {
		explained := table(t, text, verb, "step")
		if len(explained) == 0 {
			continue // it is made of others' steps
		}
		seen := map[int]bool{}
		for _, row := range table(t, text, verb, "call") {
			for _, at := range places(t, explained, strings.Split(row[1], ", ")) {
				seen[at] = true
			}
		}
		assert.Len(t, seen, len(explained), "%s explains steps that no call has", verb)
	}
}

// places finds the row that explains each of a call's own steps; of those of operations
// within it, the row of the step that they are in, and of what is undone none.
func places(t *testing.T, explained [][]string, steps []string) map[int]int {
	t.Helper()
	at, found := -1, map[int]int{}
	for i, step := range steps {
		step = strings.TrimSuffix(step, " fails")
		if step == "none" || strings.HasPrefix(step, "undo ") {
			continue
		}
		if !strings.Contains(step, "/") {
			same := func(row []string) bool { return row[0] == step }
			if next := slices.IndexFunc(explained[at+1:], same); next >= 0 {
				at += next + 1
			} else { // these are done again, for what has changed meanwhile
				require.Contains(t, []string{"place", "create", "document", "look"}, step, "not explained, or in another order")
				at = slices.IndexFunc(explained, same)
			}
		}
		found[i] = at
	}
	return found
}

// TestDocsKilled: what a process that is killed after a step leaves, Reconcile brings to
// what docs/architecture.md says: as it would be without the call, or as asked.
func TestDocsKilled(t *testing.T) {
	text := architecture(t)
	for verb, calls := range scenarios {
		explained := table(t, text, verb, "step")
		for name, s := range calls {
			if s.fails || len(explained) == 0 {
				continue
			}
			w := newWorld(t, "docs")
			s.before(w)
			steps, err := w.run(s.call(w), lives)
			require.NoError(t, err)
			asked := w.picture()
			w = newWorld(t, "docs")
			s.before(w)
			w.done(w.reconcile)
			outcomes := map[string]string{"as before": w.picture(), "as asked": asked}
			for i, row := range places(t, explained, steps) {
				if steps[i] == "lock" || strings.HasSuffix(steps[i], " fails") {
					continue // nothing was done; and only the end of a real process frees a lock just taken
				}
				t.Run(fmt.Sprintf("%s, %s, %d %s", verb, name, i, steps[i]), func(t *testing.T) {
					w := newWorld(t, "docs")
					s.before(w)
					_, err := w.run(s.call(w), func(step int, _ string) bool { return step == i })
					require.NoError(t, err)
					w.done(w.reconcile)
					require.Len(t, explained[row], 4)
					want, ok := outcomes[explained[row][3]]
					require.True(t, ok, explained[row][3])
					assert.Equal(t, want, w.picture())
				})
			}
		}
	}
}

// TestDocsError: the failure that docs/architecture.md shows is what the code says.
func TestDocsError(t *testing.T) {
	w := newWorld(t, "web1")
	w.refuse(firstGPU, secondGPU)
	_, err := w.run(w.provision, lives)
	require.Error(t, err)
	envelope, wrong := json.MarshalIndent(vgpu.NewEnvelope(err), "", "  ")
	require.NoError(t, wrong)
	text := architecture(t)
	for _, said := range []string{err.Error(), vgpu.Hint(err), string(envelope)} {
		assert.True(t, strings.Contains(text, "\n"+said+"\n"), "the page lacks:\n%s", said)
	}
	var kinds []error
	for _, kind := range []error{
		vgpu.ErrInvalid, vgpu.ErrNotFound, vgpu.ErrExists, vgpu.ErrInUse, vgpu.ErrNoCapacity, vgpu.ErrBusy,
		vgpu.ErrState, vgpu.ErrPermission, vgpu.ErrUnsupported, vgpu.ErrRefused, vgpu.ErrUnavailable,
	} {
		if errors.Is(err, kind) {
			kinds = append(kinds, kind)
		}
	}
	assert.Equal(t, []error{vgpu.ErrNoCapacity}, kinds, "it is of one kind")
	assert.ErrorIs(t, err, syscall.EIO)
}
