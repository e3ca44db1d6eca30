package domain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What libvirt has completed it takes again, and so do we; what it refuses of a document
// with mediated devices (name.….err beside it) we refuse in its words.
func TestCorpusCheck(t *testing.T) {
	taken, refused := 0, 0
	corpusDocuments(t, func(name string, _ []byte, d *Document) {
		mdevs := 0
		for _, h := range d.Hostdevs() {
			if h.VF == "" {
				mdevs++
			}
		}
		if strings.Contains(name, "-latest.") {
			require.NoError(t, d.Check(), name)
			taken++
		}
		if mdevs == 0 {
			return
		}
		files, err := filepath.Glob(filepath.Join(os.Getenv("VGPUKIT_CORPUS"), "*", strings.TrimSuffix(name, ".xml")+".*-latest.err"))
		require.NoError(t, err)
		if len(files) == 0 {
			return
		}
		text, err := os.ReadFile(files[0])
		require.NoError(t, err)
		_, words, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
		assert.ErrorContains(t, d.Check(), words, name)
		refused++
	})
	t.Logf("%d taken, %d refused", taken, refused)
}
