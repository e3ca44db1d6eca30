package mdev_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

var definedUUID = uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")

// Definitions are mdevctl's files: what it writes is read, what is written is as
// it writes, and what is not known is kept in its place.
func TestDefinitionsAreMdevctlsFiles(t *testing.T) {
	root := t.TempDir()
	host, err := mdev.Open(mdev.Config{Root: root})
	require.NoError(t, err)
	none, err := host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none)

	def := mdev.Definition{Parent: "matrix", UUID: definedUUID, Type: "vfio_ap-passthrough", Start: mdev.StartAuto, Params: []mdev.Param{{Name: "assign_adapter", Value: "5"}, {Name: "assign_domain", Value: "0xab"}}}
	require.NoError(t, host.Define(t.Context(), def))
	file := filepath.Join(root, "etc/mdevctl.d/matrix", definedUUID.String())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{
  "mdev_type": "vfio_ap-passthrough",
  "start": "auto",
  "attrs": [
    {
      "assign_adapter": "5"
    },
    {
      "assign_domain": "0xab"
    }
  ]
}`, string(text))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm())
	found, err := host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []mdev.Definition{def}, found)
	assert.Equal(t, mdev.CreateRequest{Type: def.Type, Parent: "matrix", UUID: definedUUID, Params: def.Params}, found[0].Request())

	require.NoError(t, os.WriteFile(file, []byte(`{"future":{"b":1,"a":[2]},"start":"manual","mdev_type":"vfio_ap-passthrough","later":null}`), 0o644))
	found, err = host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []mdev.Field{{Name: "future", Value: `{"b":1,"a":[2]}`}, {Name: "later", Value: "null"}}, found[0].Extra)
	def.Params = []mdev.Param{}
	require.NoError(t, host.Define(t.Context(), def))
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{
  "future": {
    "b": 1,
    "a": [
      2
    ]
  },
  "start": "auto",
  "mdev_type": "vfio_ap-passthrough",
  "later": null,
  "attrs": []
}`, string(text))

	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file is left")
	require.NoError(t, host.Undefine(t.Context(), "matrix", definedUUID))
	require.ErrorIs(t, host.Undefine(t.Context(), "matrix", definedUUID), mdev.ErrNotFound)
}

func TestBrokenDefinitionHidesNoOther(t *testing.T) {
	root := t.TempDir()
	host, err := mdev.Open(mdev.Config{Root: root})
	require.NoError(t, err)
	require.NoError(t, host.Define(t.Context(), mdev.Definition{Parent: "mtty", UUID: definedUUID, Type: "mtty-2"}))
	for name, text := range map[string]string{
		uuid.NewString(): `{"mdev_type":`, uuid.NewString(): `{}`, "notes.txt": "no definition", ".x.tmp1": "{",
		uuid.NewString(): `{"mdev_type":"a","start":"auto","attrs":[{"x":5}]}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "etc/mdevctl.d/mtty", name), []byte(text), 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc/mdevctl.d/scripts.d/callouts"), 0o755))
	found, err := host.Definitions(t.Context())
	require.ErrorIs(t, err, mdev.ErrInvalid)
	require.Len(t, found, 1)
	assert.Equal(t, definedUUID, found[0].UUID)
}

// Files are read as mdevctl 1.4 reads them: what it refuses is told, and what it takes is
// taken for the same.
func TestDefinitionsAreReadAsMdevctlReadsThem(t *testing.T) {
	for text, want := range map[string]any{
		`{"mdev_type":"a","start":"auto"}`:                                       mdev.Definition{Type: "a", Start: mdev.StartAuto},
		`{"mdev_type":"a","start":"manual","attrs":null}`:                        mdev.Definition{Type: "a", Start: mdev.StartManual},
		`{"mdev_type":"a","start":"\u0061uto","attrs":[]}`:                       mdev.Definition{Type: "a", Start: mdev.StartAuto},
		`{"mdev_type":"a","start":"sometimes"}`:                                  mdev.Definition{Type: "a", Start: mdev.StartManual},
		`{"mdev_type":"a","start":true}`:                                         mdev.Definition{Type: "a", Start: mdev.StartManual},
		`{"mdev_type":"a","start":"auto","mdev_type":"b"}`:                       mdev.Definition{Type: "b", Start: mdev.StartAuto},
		`{"mdev_type":"a","start":"auto","start":"manual"}`:                      mdev.Definition{Type: "a", Start: mdev.StartManual},
		`{"mdev_type":"a","start":"auto","attrs":[{"x":"1","x":"2"},{"x":"3"}]}`: mdev.Definition{Type: "a", Start: mdev.StartAuto, Params: []mdev.Param{{Name: "x", Value: "2"}, {Name: "x", Value: "3"}}},
		`{"mdev_type":"a"}`:                                                      `field "start" is missing`,
		`{"mdev_type":"a","start":null}`:                                         `field "start" is missing`,
		`{"start":"auto"}`:                                                       `field "mdev_type" is missing`,
		`{"mdev_type":null,"start":"auto"}`:                                      `field "mdev_type" is missing`,
		`{"mdev_type":5,"start":"auto"}`:                                         `field "mdev_type"`,
		`{"mdev_type":"a","start":"auto","attrs":[{"x":"1","y":"2"}]}`:           "an attribute has 2 fields, not 1",
		`{"mdev_type":"a","start":"auto","attrs":[{}]}`:                          "an attribute has 0 fields, not 1",
		`{"mdev_type":"a","start":"auto","attrs":[{"x":null}]}`:                  `attribute "x": its value is not a string`,
		`{"mdev_type":"a","start":"auto","attrs":[["x","1"]]}`:                   "not a JSON object",
		`{"mdev_type":"a","start":"auto","attrs":{"x":"1"}}`:                     `field "attrs"`,
		`{"mdev_type":"a","start":"auto"} {}`:                                    "there is more after the JSON object",
		`[]`:                                                                     "not a JSON object",
	} {
		root := t.TempDir()
		host, err := mdev.Open(mdev.Config{Root: root})
		require.NoError(t, err)
		dir := filepath.Join(root, "etc/mdevctl.d/mtty")
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, definedUUID.String()), []byte(text), 0o600))
		found, err := host.Definitions(t.Context())
		if says, refused := want.(string); refused {
			require.ErrorIs(t, err, mdev.ErrInvalid, text)
			assert.ErrorContains(t, err, says, text)
			assert.Empty(t, found)
			continue
		}
		def := want.(mdev.Definition)
		def.Parent, def.UUID = "mtty", definedUUID
		if def.Params == nil {
			def.Params = []mdev.Param{}
		}
		require.NoError(t, err, text)
		assert.Equal(t, []mdev.Definition{def}, found, text)
	}
}

// mdevctl may have one UUID under two parents: each definition is edited by its own, and a
// third is refused. What is not to be overwritten is not.
func TestDefineUnderTwoParents(t *testing.T) {
	root := t.TempDir()
	host, err := mdev.Open(mdev.Config{Root: root})
	require.NoError(t, err)
	def := mdev.Definition{Parent: "p", UUID: definedUUID, Type: "t", Start: mdev.StartManual, Params: []mdev.Param{}, Exclusive: true}
	require.NoError(t, host.Define(t.Context(), def))
	require.ErrorIs(t, host.Define(t.Context(), def), mdev.ErrExists)
	def.Exclusive = false
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc/mdevctl.d/q"), 0o755))
	require.NoError(t, os.Link(filepath.Join(root, "etc/mdevctl.d/p", definedUUID.String()), filepath.Join(root, "etc/mdevctl.d/q", definedUUID.String())))
	def.Parent, def.Start = "q", mdev.StartAuto
	require.NoError(t, host.Define(t.Context(), def))
	first := def
	first.Parent, first.Start = "p", mdev.StartManual
	found, err := host.DefinitionsOf(t.Context(), definedUUID)
	require.NoError(t, err)
	assert.Equal(t, []mdev.Definition{first, def}, found)
	def.Exclusive = true
	require.ErrorIs(t, host.Define(t.Context(), def), mdev.ErrExists)
	def.Parent, def.Exclusive = "r", false
	require.ErrorIs(t, host.Define(t.Context(), def), mdev.ErrExists)
	require.NoError(t, host.Undefine(t.Context(), "p", definedUUID))
	found, err = host.DefinitionsOf(t.Context(), uuid.New())
	require.NoError(t, err)
	assert.Empty(t, found)
}

func TestDefineRefuses(t *testing.T) {
	_, host := simulated(t, "tesla-m60", "l40s,vfs=1")
	vf := inventory(t, host).GPUs[2].Parents[0].Name
	require.NoError(t, host.Define(t.Context(), mdev.Definition{Parent: "0000:06:00.0", UUID: definedUUID, Type: "GRID M60-2Q"}))
	found, err := host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "nvidia-18", found[0].Type, "the file has the id")
	for name, test := range map[string]struct {
		def  mdev.Definition
		want error
	}{
		"no UUID":             {mdev.Definition{Parent: "mtty", Type: "mtty-1"}, mdev.ErrInvalid},
		"parent with a path":  {mdev.Definition{Parent: "../mtty", UUID: definedUUID, Type: "mtty-1"}, mdev.ErrInvalid},
		"mdevctl's scripts":   {mdev.Definition{Parent: "scripts.d", UUID: definedUUID, Type: "mtty-1"}, mdev.ErrInvalid},
		"no type":             {mdev.Definition{Parent: "mtty", UUID: definedUUID}, mdev.ErrInvalid},
		"odd start":           {mdev.Definition{Parent: "mtty", UUID: definedUUID, Type: "mtty-1", Start: "sometimes"}, mdev.ErrInvalid},
		"elsewhere":           {mdev.Definition{Parent: "0000:05:00.0", UUID: definedUUID, Type: "nvidia-18"}, mdev.ErrExists},
		"type not offered":    {mdev.Definition{Parent: "0000:05:00.0", UUID: uuid.New(), Type: "nvidia-19999"}, mdev.ErrNotFound},
		"virtual function":    {mdev.Definition{Parent: vf, UUID: uuid.New(), Type: "1145"}, mdev.ErrUnsupported},
		"extra without JSON":  {mdev.Definition{Parent: "p", UUID: uuid.New(), Type: "t", Extra: []mdev.Field{{Name: "x", Value: "{"}}}, mdev.ErrInvalid},
		"extra that is known": {mdev.Definition{Parent: "p", UUID: uuid.New(), Type: "t", Extra: []mdev.Field{{Name: "start", Value: `"auto"`}}}, mdev.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, host.Define(t.Context(), test.def), test.want) })
	}
	after, err := host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, found, after)
}

// Definitions outlive what devices do not.
func TestDefinitionsSurviveAReboot(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	def := mdev.Definition{Parent: "0000:05:00.0", UUID: definedUUID, Type: "nvidia-18", Start: mdev.StartManual, Params: []mdev.Param{{Name: "nvidia/vgpu_params", Value: "disable_vnc=1"}}}
	require.NoError(t, host.Define(t.Context(), def))
	_, err := host.Create(t.Context(), def.Request())
	require.NoError(t, err)
	sim.Reboot()
	_, err = host.Device(t.Context(), definedUUID.String())
	require.ErrorIs(t, err, mdev.ErrNotFound)
	found, err := host.Definitions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []mdev.Definition{def}, found)
	created, err := host.Create(t.Context(), found[0].Request())
	require.NoError(t, err)
	data, err := sim.ReadFile(created.Path + "/nvidia/vgpu_params")
	require.NoError(t, err)
	assert.Equal(t, "disable_vnc=1\n", string(data))
}

// What keeps a definition from being written is not blamed on sysfs, nor a bad
// parameter on a creation.
func TestDefineNamesWhatFails(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	def := mdev.Definition{Parent: "0000:05:00.0", UUID: definedUUID, Type: "nvidia-18"}
	undo := sim.Fail(mdevtest.Fault{Op: mdevtest.OpStore, Err: syscall.EROFS})
	for _, err := range []error{host.Define(t.Context(), def), host.Undefine(t.Context(), def.Parent, def.UUID)} {
		require.ErrorIs(t, err, mdev.ErrPermission)
		require.ErrorIs(t, err, syscall.EROFS)
		assert.NotContains(t, err.Error(), "sysfs")
		assert.Contains(t, err.(*mdev.Error).Hint(), "/etc/mdevctl.d")
	}
	undo()
	def.Params = []mdev.Param{{Name: "vgpu_params", Value: "odd"}}
	err := host.Define(t.Context(), def)
	require.ErrorIs(t, err, mdev.ErrInvalid)
	assert.Regexp(t, "^define vgpu_params", err.Error())
	assert.Regexp(t, "^check vgpu_params", def.Params[0].Check().Error())
}
