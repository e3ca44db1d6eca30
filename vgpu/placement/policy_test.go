package placement

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gpuWith is a simulated GPU that runs the types given, on node 0.
func gpuWith(board *simBoard, name string, types ...string) *simGPU {
	g := &simGPU{board: board, name: "0000:" + name + ":00.0", broken: map[string]bool{}}
	if board == simMtty {
		g.name = name
	}
	for _, typeName := range types {
		if _, ok := g.createAnywhere(typeName); !ok {
			panic("the driver refuses " + typeName)
		}
	}
	return g
}

func onNode(node int, g *simGPU) *simGPU {
	g.node = node
	return g
}

func times(n int, typeName string) []string { return slices.Repeat([]string{typeName}, n) }

func ask(types ...string) []Request {
	requests := make([]Request, len(types))
	for i, typeName := range types {
		requests[i].Type, requests[i].Parent, _ = strings.Cut(typeName, "@")
	}
	return requests
}

func oneHost(gpus ...*simGPU) simFleet { return simFleet{{gpus: gpus}} }

// TestPlaceChoosesByPolicy keeps the promises of the policies: who gets the
// vGPU when several GPUs could take it. Requests are "type" or "type@parent".
func TestPlaceChoosesByPolicy(t *testing.T) {
	zero, one := 0, 1
	for _, c := range []struct {
		promise  string
		fleet    simFleet
		requests []Request
		options  Options
		want     string // the GPUs, in order of the requests
	}{
		{
			"pack uses a GPU of the same size before an empty one",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06", "GRID M60-2Q")),
			ask("GRID M60-2B"),
			Options{},
			"06",
		},
		{
			"pack fills the fullest GPU first",
			oneHost(gpuWith(simM60, "05", "GRID M60-2Q"), gpuWith(simM60, "06", times(3, "GRID M60-2Q")...), gpuWith(simM60, "07", times(2, "GRID M60-2Q")...)),
			ask("nvidia-18"),
			Options{},
			"06",
		},
		{
			"pack opens an empty GPU when those of the size are full",
			oneHost(gpuWith(simM60, "05", "GRID M60-8Q"), gpuWith(simM60, "06")),
			ask("GRID M60-8Q"),
			Options{},
			"06",
		},
		{
			"pack prefers a used host when it opens a GPU",
			simFleet{{name: "a", gpus: []*simGPU{gpuWith(simM60, "05")}}, {name: "b", gpus: []*simGPU{gpuWith(simM60, "06", "GRID M60-8Q"), gpuWith(simM60, "07")}}},
			ask("GRID M60-8Q"),
			Options{},
			"07",
		},
		{
			"pack puts a VM's vGPUs on one GPU rather than on two",
			oneHost(gpuWith(simA40, "41", "NVIDIA A40-8Q"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q", "NVIDIA A40-8Q", "NVIDIA A40-8Q"),
			Options{},
			"41 41 41",
		},
		{
			"pack takes the host that can take a whole VM without opening a GPU",
			simFleet{{name: "a", gpus: []*simGPU{gpuWith(simA40, "41", times(4, "NVIDIA A40-8Q")...), gpuWith(simA40, "42")}}, {name: "b", gpus: []*simGPU{gpuWith(simA40, "43", "NVIDIA A40-8Q")}}},
			ask("NVIDIA A40-8Q", "NVIDIA A40-8Q"),
			Options{},
			"43 43",
		},
		{
			"spread takes the least loaded GPU, opening empty ones",
			oneHost(gpuWith(simM60, "05", "GRID M60-2Q"), gpuWith(simM60, "06")),
			ask("GRID M60-2Q"),
			Options{Policy: Spread},
			"06",
		},
		{
			"spread takes the least loaded host among equal GPUs",
			simFleet{{name: "a", gpus: []*simGPU{gpuWith(simM60, "05", "GRID M60-8Q"), gpuWith(simM60, "06")}}, {name: "b", gpus: []*simGPU{gpuWith(simM60, "07")}}},
			ask("GRID M60-2Q"),
			Options{Policy: Spread},
			"07",
		},
		{
			"spread keeps an empty GPU for large profiles while another has room",
			oneHost(gpuWith(simM60, "05", "GRID M60-2Q"), gpuWith(simM60, "06")),
			ask("GRID M60-2Q"),
			Options{Policy: Spread, KeepEmpty: 1},
			"05",
		},
		{
			"spread gives the kept GPU to the largest profile",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06", "GRID M60-8Q")),
			ask("GRID M60-8Q"),
			Options{Policy: Spread, KeepEmpty: 1},
			"05",
		},
		{
			"spread gives the kept GPU away rather than refuse",
			oneHost(gpuWith(simM60, "05", "GRID M60-4Q"), gpuWith(simM60, "06")),
			ask("GRID M60-2Q"),
			Options{Policy: Spread, KeepEmpty: 1},
			"06",
		},
		{
			"spread separates a VM's vGPUs",
			oneHost(gpuWith(simA40, "41"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q", "NVIDIA A40-8Q", "NVIDIA A40-8Q"),
			Options{Policy: Spread},
			"41 42 41",
		},
		{
			"NUMA opens a near GPU rather than use a far one",
			oneHost(gpuWith(simM60, "05", "GRID M60-2Q"), onNode(1, gpuWith(simM60, "85"))),
			ask("GRID M60-2Q"),
			Options{Policy: NUMA, NUMANode: &one},
			"85",
		},
		{
			"NUMA falls back to a far GPU",
			oneHost(gpuWith(simM60, "05"), onNode(1, gpuWith(simM60, "85", "GRID M60-8Q"))),
			ask("GRID M60-8Q"),
			Options{Policy: NUMA, NUMANode: &one},
			"05",
		},
		{
			"NUMA takes as few far GPUs as it can for a VM",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06"), onNode(1, gpuWith(simM60, "85"))),
			ask("GRID M60-8Q", "GRID M60-8Q"),
			Options{Policy: NUMA, NUMANode: &one},
			"85 05",
		},
		{
			"on a host that knows no NUMA nodes every GPU is near",
			oneHost(onNode(-1, gpuWith(simM60, "05"))),
			ask("GRID M60-8Q"),
			Options{Policy: NUMA, NUMANode: &zero, Strict: true},
			"05",
		},
		{
			"a pinned vGPU goes to its GPU, whatever the policy likes",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06", "GRID M60-2Q")),
			ask("GRID M60-2Q@0000:05:00.0"),
			Options{},
			"05",
		},
		{
			"a pinned vGPU keeps its room from the others",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06")),
			ask("GRID M60-8Q", "GRID M60-8Q@0000:05:00.0"),
			Options{},
			"06 05",
		},
		{
			"apart puts each vGPU of a VM on a GPU of its own",
			oneHost(gpuWith(simA40, "41", "NVIDIA A40-8Q"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q", "NVIDIA A40-8Q"),
			Options{AntiAffinity: true},
			"41 42",
		},
		{
			"apart counts what the VM has",
			oneHost(gpuWith(simA40, "41", "NVIDIA A40-8Q"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q"),
			Options{AntiAffinity: true, Existing: []Use{{GPU: "0000:41:00.01", Type: "NVIDIA A40-8Q"}}},
			"42",
		},
		{
			"a group's GPUs are avoided",
			oneHost(gpuWith(simA40, "41", "NVIDIA A40-8Q"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q"),
			Options{Avoid: []Use{{GPU: "0000:41:00.0"}}},
			"42",
		},
		{
			"a group's hosts are avoided",
			simFleet{{name: "a", gpus: []*simGPU{gpuWith(simM60, "05")}}, {name: "b", gpus: []*simGPU{gpuWith(simM60, "06")}}},
			ask("GRID M60-2Q"),
			Options{Avoid: []Use{{Host: "a"}}},
			"06",
		},
		{
			"a VM's next vGPU goes to its host",
			simFleet{{name: "a", gpus: []*simGPU{gpuWith(simA40, "41")}}, {name: "b", gpus: []*simGPU{gpuWith(simA40, "42")}}},
			ask("NVIDIA A40-8Q"),
			Options{Existing: []Use{{Host: "b", GPU: "0000:42:00.0", Type: "NVIDIA A40-8Q"}}},
			"42",
		},
		{
			"a VM can have vGPUs of different sizes of one board and series",
			oneHost(gpuWith(simA40, "41"), gpuWith(simA40, "42")),
			ask("NVIDIA A40-8Q", "NVIDIA A40-24Q"),
			Options{},
			"41 42",
		},
		{
			"before Ampere a VM can have several whole GPUs",
			oneHost(gpuWith(simM60, "05"), gpuWith(simM60, "06")),
			ask("GRID M60-8Q", "GRID M60-8Q"),
			Options{},
			"05 06",
		},
		{
			"types that divide a pool share a GPU",
			oneHost(gpuWith(simMtty, "mtty", "mtty-1")),
			ask("mtty-2", "mtty-2", "mtty-1"),
			Options{},
			"mtty mtty mtty",
		},
		{
			"types of different GPU instances share a GPU in MIG mode",
			oneHost(gpuWith(simMIG, "41", "GRID A100-1-5C")),
			ask("GRID A100-2-10C", "GRID A100-3-20C"),
			Options{},
			"41 41",
		},
	} {
		t.Run(c.promise, func(t *testing.T) {
			p, err := c.fleet.snapshot(t).Place(c.requests, c.options)
			require.NoError(t, err)
			var got []string
			for _, v := range p.VGPUs {
				name := v.GPU
				if strings.HasPrefix(name, "0000:") {
					name = name[5:7]
				}
				got = append(got, name)
			}
			require.Equal(t, c.want, strings.Join(got, " "))
			require.Empty(t, c.fleet.bad(p, c.requests, c.options))
		})
	}
}
