package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tourLine is a command of README's tour, with what README says that it prints.
type tourLine struct{ command, shows string }

// tour reads README's section about the simulated host: the command of the first
// terminal, and those of the second.
func tour(t *testing.T, dir string) (simulate tourLine, lines []tourLine) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## A host to play with\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```").FindAllStringSubmatch(section, -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "/tmp/sim", dir)) {
			if command, is := strings.CutPrefix(line, "$ "); is {
				lines = append(lines, tourLine{command: strings.TrimSpace(command)})
			} else {
				lines[len(lines)-1].shows += line
			}
		}
	}
	require.Greater(t, len(lines), 1)
	return lines[0], lines[1:]
}

// alike is what is the same each time.
func alike(output string) string {
	output = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(output, "(a UUID)")
	return strings.TrimRight(regexp.MustCompile(`(?m) +$`).ReplaceAllString(output, ""), "\n")
}

// asShown tells whether a command printed what README shows; … stands for any lines.
func asShown(shows, output string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(alike(shows)), "…\n", "(?s:.*\n)?")
	return regexp.MustCompile("^" + pattern + "$").MatchString(alike(output))
}

// TestReadmeTour: each line of README's tour of a simulated host does what README shows,
// each in a process of its own, and ctrl-C leaves nothing.
func TestReadmeTour(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sim")
	first, lines := tour(t, dir)
	args := strings.Fields(first.command)
	require.Equal(t, []string{"vgpuctl", "simulate", "--mount", dir}, args[:4])
	s := simulate(t, dir, args[4:]...)
	assert.Contains(t, first.shows, s.told)

	bin := t.TempDir()
	require.NoError(t, os.Symlink(os.Args[0], filepath.Join(bin, "vgpuctl")))
	functions := ""
	for _, line := range lines {
		if strings.Contains(line.command, "() {") {
			functions += line.command + "\n"
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", functions+line.command)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C")
		output, err := cmd.CombinedOutput()
		if !asShown(line.shows, string(output)) {
			t.Errorf("$ %s\n%s\nREADME shows\n%s", line.command, alike(string(output)), alike(line.shows))
		}
		assert.NoError(t, err, "$ %s", line.command)
	}

	s.end(t, os.Interrupt)
	assert.Zero(t, s.cmd.ProcessState.ExitCode(), s.stderr)
	s.nothingLeft(t)
	require.NoError(t, syscall.Rmdir(dir))
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Empty(t, left)
}
