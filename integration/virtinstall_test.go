//go:build integration

package integration

import (
	"embed"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// virtInstalls are documents that virt-install wrote; make.sh beside them says how.
//
//go:embed testdata/virt-install/*.xml
var virtInstalls embed.FS

// Documents as virt-install writes them, whose controllers have no index and whose devices no
// address: libvirt takes what we planned for three vGPUs, one of them behind a root port that we add
// where there are any, and the started guest has each where we said. Two are drawn by lot, or with
// VGPUKIT_KILL=all all tried.
func TestVirtInstallDocuments(t *testing.T) {
	const dir = "testdata/virt-install"
	files, err := virtInstalls.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	if os.Getenv("VGPUKIT_KILL") != "all" {
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		files = files[:2]
	}
	disk := regexp.MustCompile(`"(/[^'"]*\.img)"`)
	for _, file := range files {
		t.Run(strings.TrimSuffix(file.Name(), ".xml"), func(t *testing.T) {
			text, err := virtInstalls.ReadFile(path.Join(dir, file.Name()))
			require.NoError(t, err)
			if named := disk.FindSubmatch(text); named != nil {
				emptyDisk(t, string(named[1]))
			}
			doc := parsed(t, string(text))
			var addresses []domain.Address
			if strings.Contains(file.Name(), "q35") {
				doc, addresses, err = doc.AddRootPorts(1, domain.AddressRequest{})
				require.NoError(t, err)
			}
			free, err := doc.Free(3, domain.AddressRequest{})
			require.NoError(t, err)
			for _, address := range free {
				if len(addresses) < 3 && !slices.Contains(addresses, address) {
					addresses = append(addresses, address)
				}
			}
			t.Logf("planned: %v", addresses)
			newAddressLab(t, len(addresses)).checkStarted(t, doc, addresses)
		})
	}
}

// emptyDisk makes a disk that a document names, for the time of a test.
func emptyDisk(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.Remove(name)) })
	require.NoError(t, f.Truncate(1<<20))
	require.NoError(t, f.Close())
}
