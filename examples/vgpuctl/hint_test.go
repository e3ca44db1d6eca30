package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// inWords are the options of the library as its hints name them.
var inWords = regexp.MustCompile(`with (repair|restore|now|give-up)\b|\(fresh\)|\bby force\b|allow force|take the state directory over|ManagedSave|KeepNVRAM|SnapshotsMetadata`)

// TestHintsInFlags: whatever option a hint of the library names, vgpuctl says it as a flag or a
// command of its own.
func TestHintsInFlags(t *testing.T) {
	var hints []string
	for _, pattern := range []string{"../../vgpu/*.go", "../../domain/virt/texts.go", "../../internal/statedir/bind.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if match, _ := filepath.Match("*_test.go", filepath.Base(file)); match {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && inWords.MatchString(text) {
						hints = append(hints, text)
					}
				}
				return true
			})
		}
	}
	assert.Greater(t, len(hints), 12, "where are they?")
	for _, text := range hints {
		told := hint(text, "my vm", id)
		assert.NotRegexp(t, inWords, told, "of %q", text)
		assert.Regexp(t, `vgpuctl |--`, told, "of %q", text)
	}
}

// TestHints: a hint is a command that can be typed: with the names of what it is about, where
// they are known, as a shell reads them.
func TestHints(t *testing.T) {
	for _, c := range []struct{ next, vm, id, want string }{
		{"update puts it back; update with give-up ends the grant of it", "my vm", "", "vgpuctl update 'my vm' puts it back; vgpuctl update 'my vm' --give-up ends the grant of it"},
		{"tear the VM other down, or forget it; or remove the vGPU by force", "vm", id, "vgpuctl teardown other, or vgpuctl forget other; or vgpuctl remove " + id + " --force"},
		{"adopt the VM with vGPUs of its own (fresh)", "", "", "vgpuctl adopt VM --fresh gives it vGPUs of its own"},
		{"run reconcile, or repeat the operation: either finishes it", "vm", "", "vgpuctl reconcile, or repeat the command: either finishes it"},
		{"see the kernel log (dmesg)", "vm", id, "see the kernel log (dmesg)"},
		{"", "vm", id, ""},
	} {
		assert.Equal(t, c.want, hint(c.next, c.vm, c.id))
	}
	failed := hintedAction(vgpu.Action{VM: "vm", Error: &vgpu.Error{Kind: vgpu.ErrState, Next: "tear the VM down, or forget it"}, Next: "reconcile again later"})
	assert.Equal(t, "vgpuctl teardown vm, or vgpuctl forget vm", failed.Error.Next)
	assert.Equal(t, "vgpuctl reconcile later", failed.Next)
}
