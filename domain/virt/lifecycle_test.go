//go:build cgo

package virt

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

const document = `<domain type='test'>
  <name>web1</name>
  <uuid>33333333-3333-4333-8333-333333333333</uuid>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type></os>
  <devices>
    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
      <source><address uuid='c0ffee00-0000-4000-8000-000000000001'/></source>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
    </hostdev>
  </devices>
</domain>`

// Every operation in every state either works and leads to the next state, or
// is refused with the sentinel that says why and changes nothing.
func TestLifecycleTable(t *testing.T) {
	ctx := within(t)
	ops := map[string]func(*Conn, string) error{
		"start":     func(c *Conn, vm string) error { return c.Start(ctx, vm) },
		"shutdown":  func(c *Conn, vm string) error { return c.Shutdown(ctx, vm, domain.ShutdownAny) },
		"terminate": func(c *Conn, vm string) error { return c.Terminate(ctx, vm) },
		"destroy":   func(c *Conn, vm string) error { return c.Destroy(ctx, vm) },
		"suspend":   func(c *Conn, vm string) error { return c.Suspend(ctx, vm) },
		"resume":    func(c *Conn, vm string) error { return c.Resume(ctx, vm) },
		"managed":   func(c *Conn, vm string) error { return c.ManagedSave(ctx, vm) },
		"undefine":  func(c *Conn, vm string) error { return c.Undefine(ctx, vm, domain.UndefineOptions{}) },
	}
	const off, running, paused, gone = domain.StateShutOff, domain.StateRunning, domain.StatePaused, domain.State("gone")
	reach := map[domain.State][]string{off: nil, running: {"start"}, paused: {"start", "suspend"}, gone: {"undefine"}}
	for _, tt := range []struct {
		from domain.State
		op   string
		to   domain.State
		is   error
	}{
		{off, "start", running, nil},
		{off, "shutdown", off, domain.ErrState},
		{off, "terminate", off, domain.ErrState},
		{off, "destroy", off, domain.ErrState},
		{off, "suspend", off, domain.ErrState},
		{off, "managed", off, domain.ErrState},
		{off, "undefine", gone, nil},
		{running, "start", running, domain.ErrState},
		{running, "shutdown", off, nil},
		{running, "terminate", off, nil},
		{running, "destroy", off, nil},
		{running, "suspend", paused, nil},
		{running, "managed", off, nil},
		{running, "undefine", running, nil},
		{paused, "start", paused, domain.ErrState},
		{paused, "terminate", off, nil},
		{paused, "destroy", off, nil},
		{paused, "resume", running, nil},
		{paused, "undefine", paused, nil},
		{gone, "start", gone, domain.ErrNotFound},
		{gone, "shutdown", gone, domain.ErrNotFound},
		{gone, "terminate", gone, domain.ErrNotFound},
		{gone, "destroy", gone, domain.ErrNotFound},
		{gone, "suspend", gone, domain.ErrNotFound},
		{gone, "resume", gone, domain.ErrNotFound},
		{gone, "managed", gone, domain.ErrNotFound},
		{gone, "undefine", gone, domain.ErrNotFound},
	} {
		t.Run(string(tt.from)+"/"+tt.op, func(t *testing.T) {
			c := openTest(t)
			_, err := c.Define(ctx, document)
			require.NoError(t, err)
			for _, op := range reach[tt.from] {
				require.NoError(t, ops[op](c, "web1"))
			}
			err = ops[tt.op](c, "web1")
			if tt.is == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.is)
				assert.Contains(t, err.Error(), " web1: ")
			}
			info, err := c.Info(ctx, "web1")
			if tt.to == gone {
				require.ErrorIs(t, err, domain.ErrNotFound)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.to, info.State)
		})
	}
}

// A VM is found by its name and by its UUID, in either case of letters.
func TestNameOrUUID(t *testing.T) {
	ctx, c := within(t), openTest(t)
	want, err := c.Info(ctx, "two")
	require.NoError(t, err)
	for _, vm := range []string{"22222222-2222-4222-8222-222222222222", strings.ToUpper(want.UUID.String())} {
		got, err := c.Info(ctx, vm)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	// A name that looks like a UUID is found by Lookup.
	const odd = "44444444-4444-4444-8444-444444444444"
	_, err = c.Define(ctx, strings.Replace(document, "web1", odd, 1))
	require.NoError(t, err)
	_, err = c.Info(ctx, odd)
	require.ErrorIs(t, err, domain.ErrNotFound)
	id, err := c.Lookup(ctx, odd)
	require.NoError(t, err)
	got, err := c.Info(ctx, id.String())
	require.NoError(t, err)
	assert.Equal(t, odd, got.Name)
}

// Domains reports every VM, sorted, as Info does.
func TestDomainsEqualInfo(t *testing.T) {
	ctx, c := within(t), openTest(t)
	_, err := c.Define(ctx, document)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, "web1"))
	require.NoError(t, c.Suspend(ctx, "web1"))
	list, err := c.Domains(ctx)
	require.NoError(t, err)
	var names []string
	for _, got := range list {
		names = append(names, got.Name)
		want, err := c.Info(ctx, got.Name)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	assert.Equal(t, []string{"one", "two", "web1"}, names)
	assert.True(t, list[2].Persistent)
	assert.Equal(t, domain.StatePaused, list[2].State)
}

// Undefine leaves out the options that a driver does not know, keeps those that
// it knows, and refuses when it is told nothing about what is there.
func TestUndefineOptions(t *testing.T) {
	ctx, c := within(t), openTest(t)
	_, err := c.Define(ctx, document)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, "web1"))
	require.NoError(t, c.ManagedSave(ctx, "web1"))

	err = c.Undefine(ctx, "web1", domain.UndefineOptions{})
	require.ErrorIs(t, err, domain.ErrState)
	assert.Contains(t, err.(*Error).Hint(), "ManagedSave")
	err = c.Undefine(ctx, "web1", domain.UndefineOptions{NVRAM: true, KeepNVRAM: true})
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = c.Info(ctx, "web1")
	require.NoError(t, err)

	require.NoError(t, c.Undefine(ctx, "web1", domain.UndefineOptions{
		ManagedSave: true, NVRAM: true, SnapshotsMetadata: true, CheckpointsMetadata: true,
	}))
	_, err = c.Info(ctx, "web1")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

// The saved definition is what Define got, also while the VM runs; the live
// document says that it runs.
func TestXML(t *testing.T) {
	ctx, c := within(t), openTest(t)
	_, err := c.Define(ctx, document)
	require.NoError(t, err)
	off, err := c.XML(ctx, "web1")
	require.NoError(t, err)
	assert.Contains(t, off, "c0ffee00-0000-4000-8000-000000000001")
	require.NoError(t, c.Start(ctx, "web1"))
	saved, err := c.XML(ctx, "web1")
	require.NoError(t, err)
	assert.Equal(t, off, saved)
	live, err := c.LiveXML(ctx, "web1")
	require.NoError(t, err)
	assert.Regexp(t, `<domain type='test' id='\d+'`, live)
	secret, err := c.Definition(ctx, "web1")
	require.NoError(t, err)
	same, err := c.Info(ctx, "web1")
	require.NoError(t, err)
	assert.Equal(t, same, secret.Info)
	assert.Equal(t, off, secret.XML)
	movable, err := c.MigratableXML(ctx, "web1")
	require.NoError(t, err)
	assert.Contains(t, movable, "<name>web1</name>")

	// Without a definition, the live document is all there is.
	require.NoError(t, c.Undefine(ctx, "web1", domain.UndefineOptions{}))
	transient, err := c.XML(ctx, "web1")
	require.NoError(t, err)
	assert.Equal(t, live, transient)
}

// Secrets are only in what Definition and MigratableXML return.
func TestXMLSecrets(t *testing.T) {
	ctx, c := within(t), openTest(t)
	_, err := c.Define(ctx, strings.Replace(document, "<devices>",
		"<devices><graphics type='vnc' passwd='opensesame'/>", 1))
	require.NoError(t, err)
	for name, f := range map[string]struct {
		read   func(context.Context, string) (string, error)
		secret bool
	}{
		"XML": {c.XML, false}, "LiveXML": {c.LiveXML, false},
		"Definition": {func(ctx context.Context, vm string) (string, error) {
			def, err := c.Definition(ctx, vm)
			return def.XML, err
		}, true},
		"MigratableXML": {c.MigratableXML, true},
	} {
		xml, err := f.read(ctx, "web1")
		require.NoError(t, err, name)
		assert.Equal(t, f.secret, strings.Contains(xml, "opensesame"), name)
	}
}

// What C would cut short, and what is plainly wrong, is refused before libvirt
// is asked.
func TestBadInput(t *testing.T) {
	ctx, c := within(t), openTest(t)
	for name, err := range map[string]error{
		"empty name":       c.Start(ctx, ""),
		"NUL in name":      c.Start(ctx, "one\x00two"),
		"empty document":   second(c.Define(ctx, " ")),
		"NUL in document":  second(c.Define(ctx, document+"\x00")),
		"relative path":    c.Save(ctx, "one", "state"),
		"empty path":       c.Restore(ctx, "", ""),
		"NUL in path":      c.Restore(ctx, "/tmp/\x00", ""),
		"blank new XML":    c.Restore(ctx, "/tmp/x", " "),
		"empty command":    second(c.Monitor(ctx, "one", "")),
		"empty QMP":        second(c.QMP(ctx, "one", "")),
		"no scope":         c.Attach(ctx, "one", "<hostdev/>", 0),
		"unknown scope":    c.Detach(ctx, "one", "<hostdev/>", 8),
		"alias to attach":  c.Attach(ctx, "one", "hostdev0", domain.ScopeLive),
		"nameless device":  c.Detach(ctx, "one", "<hostdev/>", domain.ScopeLive),
		"two devices":      c.Detach(ctx, "one", "<a/><b/>", domain.ScopeLive),
		"broken device":    c.Detach(ctx, "one", "<hostdev>", domain.ScopeLive),
		"shutdown mode":    c.Shutdown(ctx, "one", "knock"),
		"not a domain":     second(c.Define(ctx, "<network/>")),
		"not well-formed":  second(c.Define(ctx, "<domain")),
		"without a name":   second(c.Define(ctx, "<domain type='test'/>")),
		"negative timeout": second(Open(ctx, Config{URI: "test:///default", OpenTimeout: -1})),
		"no connections":   second(Open(ctx, Config{URI: "test:///default", MaxConnections: -1})),
		"negative backoff": second(Open(ctx, Config{URI: "test:///default", MaxBackoff: -1})),
	} {
		require.ErrorIs(t, err, domain.ErrInvalid, name)
		assert.NotContains(t, err.Error(), "\n", name)
		assert.NotEmpty(t, err.(*Error).Hint(), name)
	}
}

func second[T any](_ T, err error) error { return err }
