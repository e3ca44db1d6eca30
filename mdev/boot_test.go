package mdev_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// The boot is named as the kernel names it; one that cannot be read is an error.
func TestBoot(t *testing.T) {
	sim := mdevtest.New()
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	boot, err := host.Boot(t.Context())
	require.NoError(t, err)
	require.NoError(t, uuid.Validate(boot))
	again, err := host.Boot(t.Context())
	require.NoError(t, err)
	require.Equal(t, boot, again)
	sim.Fail(mdevtest.Fault{Path: "boot_id"})
	_, err = host.Boot(t.Context())
	require.ErrorContains(t, err, "read the boot id")
}

func ExampleHost_Boot() {
	sim := mdevtest.New()
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		panic(err)
	}
	before, _ := host.Boot(context.Background())
	sim.Reboot()
	after, _ := host.Boot(context.Background())
	fmt.Println(before == after)
	// Output: false
}

// A directory that is no machine has no boot.
func TestNoBoot(t *testing.T) {
	host, err := mdev.Open(mdev.Config{Root: t.TempDir()})
	require.NoError(t, err)
	_, err = host.Boot(t.Context())
	require.ErrorIs(t, err, mdev.ErrNotFound)
}
