package vgpukit

import (
	"debug/buildinfo"
	"encoding/json"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestModulesByThemselves: once a release is tagged, the programs can be installed
// and the packages imported by their names alone. The release is made of what lies
// here; what it needs of others comes from the module cache, with the sums that each
// module's go.sum has.
func TestModulesByThemselves(t *testing.T) {
	cache := goEnv(t, "GOMODCACHE")
	// What is not in the cache yet gets there, and its sums are checked.
	warm := []string{"list", "-tags", "libvirt_dlopen", "-deps", "."}
	var own []string
	for dir := range tree(t) {
		if dir != "." && dir != "integration/compare" { // which has tests only
			own = append(own, "./"+dir+"/...")
		}
	}
	out, err := build(t, nil, append(warm, own...)...)
	require.NoError(t, err, out)

	bin := t.TempDir()
	env := []string{
		"GOWORK=off", "GOBIN=" + bin, "GOENV=off", "GOTOOLCHAIN=local", "GOVCS=*:off", "GOPRIVATE=", "GONOPROXY=",
		// A module cache of its own, which can be removed, and packages that are
		// built once wherever it lies.
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw -trimpath",
		"GOPROXY=file://" + proxy(t, tree(t)) + ",file://" + filepath.Join(cache, "cache", "download"), "GOSUMDB=off",
	}
	for _, c := range []struct {
		dir, pkg string
		program  string // that imports the package; empty: the package is a program
		args     []string
		says     string
	}{
		{"examples/vgpuctl", "examples/vgpuctl", "", []string{"--help"}, "provision"},
		{"examples/controlplane", "examples/controlplane", "", []string{"-h"}, "-listen"},
		{"integration", "integration/cmd/lab", "", []string{"--help"}, "lab run"},
		{"examples/prometheus", "examples/prometheus", `fmt.Printf("%T", it.NewObserver)`, nil, "vgpu.Observer"},
		{"examples/nvml", "examples/nvml", `fmt.Printf("%T", it.Open)`, nil, "nvml.Source"},
		{"examples/opentelemetry", "examples/opentelemetry", `fmt.Printf("%T", it.NewObserver)`, nil, "vgpu.Observer"},
		{".", "", `fmt.Printf("%T", it.Open)`, nil, "*vgpukit.Kit"},
	} {
		t.Run(c.dir, func(t *testing.T) {
			t.Parallel() // most of it is unpacked and linked
			name := path.Join(module, c.pkg)
			program := filepath.Join(bin, path.Base(name))
			if c.program == "" {
				out, err := build(t, env, "install", "-tags", "libvirt_dlopen", name+"@"+release)
				require.NoError(t, err, out)
			} else {
				src := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(src, "go.mod"), []byte("module scratch\n\ngo 1.26.0\n"), 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(src, "main.go"),
					[]byte("package main\n\nimport (\n\t\"fmt\"\n\n\tit \""+name+"\"\n)\n\nfunc main() { "+c.program+" }\n"), 0o600))
				out, err := build(t, env, "-C", src, "get", "-tags", "libvirt_dlopen", name+"@"+release)
				require.NoError(t, err, out)
				out, err = build(t, env, "-C", src, "build", "-tags", "libvirt_dlopen", "-o", program, ".")
				require.NoError(t, err, out)
			}
			info, err := buildinfo.ReadFile(program)
			require.NoError(t, err)
			sums, err := os.ReadFile(filepath.Join(c.dir, "go.sum"))
			require.NoError(t, err)
			ours := 0
			for _, m := range append(info.Deps, &info.Main) {
				if strings.HasPrefix(m.Path+"/", module) {
					assert.Equal(t, release, m.Version, m.Path)
					ours++
				} else if m.Path != "scratch" {
					sum := m.Path + " " + m.Version + " " + m.Sum
					assert.True(t, strings.Contains(string(sums), sum+"\n"), "%s/go.sum lacks %s: make tidy", c.dir, sum)
				}
			}
			assert.Positive(t, ours)
			said, err := exec.Command(program, c.args...).CombinedOutput()
			require.NoError(t, err, string(said))
			assert.Contains(t, string(said), c.says)
		})
	}
}

// TestModulesAlike: each module asks for the release to come and replaces nothing,
// since go install refuses a module that does; the workspace has all of them, and
// what it puts in their place is what lies here.
func TestModulesAlike(t *testing.T) {
	type version struct{ Path, Version string }
	type file struct {
		Module  version
		Require []version
		Replace []struct{ Old, New version }
		Use     []struct{ DiskPath string }
	}
	read := func(args ...string) (f file) {
		out, err := build(t, nil, args...)
		require.NoError(t, err, out)
		require.NoError(t, json.Unmarshal([]byte(out), &f), out)
		return f
	}
	var here []string
	needed := map[string]bool{}
	for dir := range tree(t) {
		here = append(here, dir)
		f := read("mod", "edit", "-json", filepath.Join(dir, "go.mod"))
		assert.Equal(t, path.Join(module, dir), f.Module.Path)
		assert.Empty(t, f.Replace, dir)
		for _, r := range f.Require {
			if strings.HasPrefix(r.Path+"/", module) {
				assert.Equal(t, release, r.Version, "%s requires %s", dir, r.Path)
				needed[r.Path] = true
			}
		}
	}
	work := read("work", "edit", "-json")
	var used []string
	for _, u := range work.Use {
		used = append(used, path.Clean(u.DiskPath))
	}
	assert.ElementsMatch(t, here, used)
	for _, r := range work.Replace {
		assert.Equal(t, release, r.Old.Version, r.Old.Path)
		assert.Equal(t, r.Old.Path, path.Join(module, r.New.Path))
		delete(needed, r.Old.Path)
	}
	assert.Empty(t, slices.Collect(maps.Keys(needed)), "go.work does not put them in place")
}

// TestNestedImports: what another module imports is what a stranger could import,
// so nothing of the library's internal/.
func TestNestedImports(t *testing.T) {
	for dir, files := range tree(t) {
		if dir == "." {
			continue
		}
		for _, file := range files {
			if path.Ext(file) != ".go" {
				continue
			}
			source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range source.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				assert.False(t, strings.HasPrefix(name, module+"internal/"), "%s imports %s", file, name)
			}
		}
	}
}

// goEnv is what go says of one of its variables.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := build(t, nil, "env", name)
	require.NoError(t, err, out)
	return strings.TrimSpace(out)
}
