package vgpukit

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var fencedGo = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestHowtoCode: the Go code on the page about testing a program is that of the
// example, whose tests run it.
func TestHowtoCode(t *testing.T) {
	page, err := os.ReadFile("docs/howto/test-your-program.md")
	require.NoError(t, err)
	files, err := filepath.Glob("examples/spawn/*.go")
	require.NoError(t, err)
	code := "\n"
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code += string(text)
	}
	blocks := fencedGo.FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.True(t, strings.Contains(code, "\n"+block[1]), "examples/spawn does not have\n%s", block[1])
	}
}
