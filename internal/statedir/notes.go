package statedir

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
)

// runtimeDir is what the machine forgets when it is switched off.
const runtimeDir = "/run/vgpukit"

// NotesPath is where a state directory has its notes of this boot, for [Open] and
// [MarksIn]: below runtime, or below /run/vgpukit if that is empty. It goes by the
// directory's path, with links followed, and not by what is in it: a state directory
// restored from a backup finds the notes of the one before.
func NotesPath(runtime, state string) (string, error) {
	if runtime == "" {
		runtime = runtimeDir
	}
	full, err := filepath.Abs(state)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(resolve(full)))
	return filepath.Join(runtime, hex.EncodeToString(sum[:sumSize])), nil
}

// resolve follows the links on the way to a path, as far as it exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil || path == "/" {
		return real
	}
	return filepath.Join(resolve(filepath.Dir(path)), filepath.Base(path))
}
