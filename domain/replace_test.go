package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

const twoVFs = `<domain type='kvm'><name>a</name><devices>
  <hostdev mode='subsystem' type='pci' managed='no'> <!-- one -->
    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
  </hostdev>
  <hostdev mode='subsystem' type='pci' managed='no'>
    <source>
      <address domain='0x0000' bus='0x41' slot='0x00' function='0x5'/>
    </source><alias name='ua-x'/>
  </hostdev>
</devices></domain>`

// What is replaced keeps its place, and every other byte stays.
func TestReplaceVFsChangesTheSourceOnly(t *testing.T) {
	doc, err := domain.Parse([]byte(twoVFs))
	require.NoError(t, err)
	moved, err := doc.ReplaceVFs(map[string]string{"0000:41:00.4": "0000:41:00.7"})
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(twoVFs, "function='0x4'", "function='0x7'", 1), string(moved.Bytes()))
	back, err := moved.ReplaceVFs(map[string]string{"0000:41:00.7": "0000:41:00.4"})
	require.NoError(t, err)
	assert.Equal(t, twoVFs, string(back.Bytes()))

	swapped, err := doc.ReplaceVFs(map[string]string{"0000:41:00.4": "0000:41:00.5", "0000:41:00.5": "0000:41:00.4"})
	require.NoError(t, err)
	assert.Equal(t, strings.NewReplacer("function='0x4'", "function='0x5'", "function='0x5'", "function='0x4'").Replace(twoVFs), string(swapped.Bytes()))
	same, err := doc.ReplaceVFs(nil)
	require.NoError(t, err)
	assert.Equal(t, twoVFs, string(same.Bytes()))
}

func TestReplaceVFsRefusesWhatCannotBe(t *testing.T) {
	mixed := strings.Replace(twoVFs, "</devices>", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='98d19132-f8f0-4d19-8743-9efa23e6c493'/></source></hostdev></devices>", 1)
	doc, err := domain.Parse([]byte(mixed))
	require.NoError(t, err)
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"0000:41:00.6", "0000:41:00.7", domain.ErrNotFound},
		{"0000:41:00.4", "0000:41:00.5", domain.ErrExists},
		{"0000:41:00.4", "there", domain.ErrInvalid},
		{"here", "0000:41:00.5", domain.ErrInvalid},
		{"98d19132-f8f0-4d19-8743-9efa23e6c493", "0000:41:00.7", domain.ErrInvalid},
	} {
		_, err := doc.ReplaceVFs(map[string]string{c.from: c.to})
		require.ErrorIs(t, err, c.want, "%s by %s", c.from, c.to)
	}
	_, err = doc.ReplaceVFs(map[string]string{"0000:41:00.4": "0000:41:00.7", "0000:41:00.5": "0000:41:00.7"})
	require.ErrorIs(t, err, domain.ErrExists)
}

func ExampleDocument_ReplaceVFs() {
	doc, err := domain.Parse([]byte(`<domain type='kvm'><devices><hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source></hostdev></devices></domain>`))
	if err != nil {
		panic(err)
	}
	doc, err = doc.ReplaceVFs(map[string]string{"0000:41:00.4": "0000:81:02.1"})
	fmt.Println(doc.Hostdevs()[0].VF, err)
	// Output: 0000:81:02.1 <nil>
}
