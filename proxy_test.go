package vgpukit

import (
	"archive/zip"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// release is the version that the modules ask for.
const release = "v0.1.0"

// tree has the files of each module here, as a release of them would: by the
// module's directory, with "." for the library's.
func tree(t *testing.T) map[string][]string {
	t.Helper()
	// Only what git knows or would take, and no folder that was made by the way.
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	require.NoError(t, err)
	var files []string
	modules := map[string][]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is about to go
		}
		require.NoError(t, err)
		if !info.Mode().IsRegular() {
			continue // as in any module
		}
		files = append(files, name)
		if path.Base(name) == "go.mod" {
			modules[path.Dir(name)] = nil
		}
	}
	for _, name := range files {
		owner := path.Dir(name)
		for _, own := modules[owner]; !own; _, own = modules[owner] {
			owner = path.Dir(owner)
		}
		modules[owner] = append(modules[owner], name)
	}
	return modules
}

// proxy lays the modules out as a module proxy has them, in one version each.
func proxy(t *testing.T, modules map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	for root, files := range modules {
		name := path.Join(module, root)
		at := filepath.Join(dir, filepath.FromSlash(name), "@v")
		require.NoError(t, os.MkdirAll(at, 0o755))
		write := func(name string, data []byte) {
			require.NoError(t, os.WriteFile(filepath.Join(at, name), data, 0o600))
		}
		write("list", []byte(release+"\n"))
		write(release+".info", []byte(`{"Version":"`+release+`"}`))
		gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
		require.NoError(t, err)
		write(release+".mod", gomod)

		packed, err := os.Create(filepath.Join(at, release+".zip"))
		require.NoError(t, err)
		pack := zip.NewWriter(packed)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			rel, err := filepath.Rel(root, file)
			require.NoError(t, err)
			w, err := pack.Create(name + "@" + release + "/" + filepath.ToSlash(rel))
			require.NoError(t, err)
			_, err = w.Write(data)
			require.NoError(t, err)
		}
		require.NoError(t, pack.Close())
		require.NoError(t, packed.Close())
	}
	return dir
}
