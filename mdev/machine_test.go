package mdev_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const (
	aMachineID = "5f0c1c2b3a4d4e5f8a9b0c1d2e3f4a5b"
	aDMI       = "4c4c4544-0042-3510-8051-b4c04f4d3332"
)

// Ids come out in one spelling; what is no id, or one that many machines have, is not known.
func TestMachine(t *testing.T) {
	for _, c := range []struct{ id, dmi, wantID, wantDMI string }{
		{aMachineID + "\n", aDMI + "\n", aMachineID, aDMI},
		{strings.ToUpper(aMachineID), strings.ToUpper(aDMI), aMachineID, aDMI},
		{"uninitialized\n", "Not Settable\n", "", ""},
		{"", "", "", ""},
		{strings.Repeat("0", 32), "00000000-0000-0000-0000-000000000000", "", ""},
		{strings.Repeat("f", 32), "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "", ""},
		{aDMI, aMachineID, "", ""},
		{aMachineID + aMachineID, "{" + aDMI + "}", "", ""},
		{strings.Repeat("g", 32), "4c4c4544_0042_3510_8051_b4c04f4d3332", "", ""},
	} {
		root := t.TempDir()
		for name, content := range map[string]string{"etc/machine-id": c.id, "sys/class/dmi/id/product_uuid": c.dmi} {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
		}
		host, err := mdev.Open(mdev.Config{Root: root})
		require.NoError(t, err)
		got, err := host.Machine(t.Context())
		require.NoError(t, err)
		require.Equal(t, mdev.Machine{ID: c.wantID, DMI: c.wantDMI}, got, "%q %q", c.id, c.dmi)
	}
}

// What cannot be read is not known, which is no error; a context that has ended is one.
func TestUnreadableMachine(t *testing.T) {
	sim := mdevtest.New()
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	whole, err := host.Machine(t.Context())
	require.NoError(t, err)
	undo := sim.Fail(mdevtest.Fault{Path: "product_uuid", Err: syscall.EACCES})
	got, err := host.Machine(t.Context())
	require.NoError(t, err)
	require.Equal(t, mdev.Machine{ID: whole.ID}, got)
	undo()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = host.Machine(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// Another machine is one of which an id is known to differ, whichever is asked.
func TestOtherMachine(t *testing.T) {
	m := func(id, dmi string) mdev.Machine { return mdev.Machine{ID: id, DMI: dmi} }
	for _, c := range []struct {
		a, b  mdev.Machine
		other bool
	}{
		{m("a", "x"), m("a", "x"), false},
		{m("a", "x"), m("b", "x"), true},
		{m("a", "x"), m("a", "y"), true},
		{m("a", "x"), m("b", "y"), true},
		{m("a", ""), m("", "x"), false},
		{m("a", ""), m("a", "x"), false},
		{m("a", ""), m("b", "x"), true},
		{m("", "x"), m("a", "y"), true},
		{m("", ""), m("a", "x"), false},
		{m("", ""), m("", ""), false},
	} {
		require.Equal(t, c.other, c.a.Other(c.b), "%v %v", c.a, c.b)
		require.Equal(t, c.other, c.b.Other(c.a), "%v %v", c.b, c.a)
	}
}

// Each simulated machine has ids of its own, which outlive its reboots, until it is given others.
func TestSimulatedMachine(t *testing.T) {
	of := func(sim *mdevtest.Host) mdev.Machine {
		host, err := mdev.Open(mdev.Config{FS: sim})
		require.NoError(t, err)
		m, err := host.Machine(t.Context())
		require.NoError(t, err)
		return m
	}
	one, two := mdevtest.New(), mdevtest.New()
	first := of(one)
	require.NotEmpty(t, first.ID)
	require.NotEmpty(t, first.DMI)
	require.NotEqual(t, first.ID, of(two).ID)
	require.NotEqual(t, first.DMI, of(two).DMI)
	one.Reboot()
	require.Equal(t, first, of(one))
	two.SetMachine(first)
	require.Equal(t, first, of(two))
	two.SetMachine(mdev.Machine{})
	require.Equal(t, mdev.Machine{}, of(two), "neither file is there")
	two.Reboot()
	require.Equal(t, mdev.Machine{}, of(two))
	two.SetMachine(first)
	require.Equal(t, first, of(two))
}

func ExampleHost_Machine() {
	sim := mdevtest.New()
	sim.SetMachine(mdev.Machine{ID: "5f0c1c2b3a4d4e5f8a9b0c1d2e3f4a5b", DMI: "4c4c4544-0042-3510-8051-b4c04f4d3332"})
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		panic(err)
	}
	here, _ := host.Machine(context.Background())
	copied := mdev.Machine{ID: here.ID, DMI: "4c4c4544-0051-3410-8034-b7c04f4d3332"} // of a cloned disk
	fmt.Println(here.ID)
	fmt.Println(here.Other(copied))
	// Output:
	// 5f0c1c2b3a4d4e5f8a9b0c1d2e3f4a5b
	// true
}
