package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVMUntold: a VM that could not be shown stays as it was asked for, and the
// error says so.
func TestVMUntold(t *testing.T) {
	host := mounted(t, "mtty")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, c := range []struct {
		args  []string
		state string
	}{
		{[]string{"provision", "--domain", "-", "--vgpu", "type=mtty-1"}, "off"},
		{[]string{"start", "vm"}, "running"},
		{[]string{"stop", "vm", "--timeout", "0"}, "off"},
		{[]string{"teardown", "vm"}, "gone"},
	} {
		var stderr bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), host.args(c.args...), strings.NewReader(document), full, &stderr))
		assert.Regexp(t, "VM vm .*"+c.state+".*as asked, but .*no space left on device\nwhat to do: ", stderr.String())
		status, stdout, _ := host.do("", "status", "vm")
		if c.state == "gone" {
			assert.Equal(t, exitNotFound, status)
		} else {
			assert.Contains(t, stdout, c.state)
		}
	}
}

// TestStatusOfOthers: a VM without vGPUs is shown too when it is asked for.
func TestStatusOfOthers(t *testing.T) {
	host := mounted(t)
	_, err := host.libvirt.Create(t.Context(), strings.Replace(document, "<name>vm<", "<name>test<", 1))
	require.NoError(t, err)
	status, stdout, stderr := host.do("", "status", "test")
	assert.Zero(t, status, stderr)
	assert.Regexp(t, `(?m)^test +running`, stdout)
}
