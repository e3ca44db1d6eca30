package mdev

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/board"
)

// MIG is the state of multi-instance GPU mode: as NVIDIA's driver shows it under
// /proc/driver/nvidia, which tells the ids of GPU instances and not their sizes, and as a
// [Source] knows it, which tells both.
type MIG struct {
	Enabled   bool          `json:"enabled"`
	Instances []GPUInstance `json:"instances"` // those that exist, by id
}

// GPUInstance is a GPU instance, and what is taken of it. Zero Slices and Memory are not
// known: no [Source] told them, and the driver's files do not.
type GPUInstance struct {
	Instance
	VGPUs []string `json:"vgpus"` // the ids of the devices that are known to be in it
}

// SizesKnown tells whether the sizes of all GPU instances are known.
func (m *MIG) SizesKnown() bool {
	return !slices.ContainsFunc(m.Instances, func(i GPUInstance) bool { return !i.shape().Known() })
}

// Profiles counts the GPU instances: "2 of 1g.24gb, 1 of 2g.48gb". Those of unknown size are
// told as that.
func (m *MIG) Profiles() string {
	counts := map[string]int{}
	for _, i := range m.Instances {
		name := cmp.Or(i.Profile, "a size that is not known")
		if s := i.shape(); s.Known() {
			name = s.String()
		}
		counts[name]++
	}
	var parts []string
	for _, profile := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d of %s", counts[profile], profile))
	}
	return strings.Join(parts, ", ")
}

func (i *Instance) shape() board.Shape { return board.ShapeOf(i.Profile, i.Slices, i.Memory) }

// facts asks the source about a GPU that NVIDIA's driver has; nil: there is none, or it knows
// nothing.
func (s *scan) facts(ctx context.Context, address, driver string, problems *[]Problem) *Facts {
	if s.host.from == nil || !s.nvidiaDrives(address, driver) {
		return nil
	}
	s.fs.at("ask the source about", "", address)
	facts, err := s.host.from.Facts(ctx, address)
	if err != nil {
		*problems = append(*problems, Problem{
			Object: address, Text: "what only NVIDIA's management library tells of the GPU is not known: " + err.Error(),
			Next: "see that NVIDIA's driver and its library (libnvidia-ml.so.1) are there and of one version", Err: err,
		})
		return nil
	}
	if reflect.ValueOf(facts).IsZero() {
		return nil
	}
	facts.Instances = slices.Clone(facts.Instances)
	slices.SortFunc(facts.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return &facts
}

// mig is what the driver's files, and the source, say of a GPU's MIG mode; nil: nothing.
func (s *scan) mig(address string, parents []Parent, facts *Facts) *MIG {
	m := s.migFiles(address, parents)
	if facts == nil || facts.MIG == nil {
		return m
	}
	told := &MIG{Enabled: *facts.MIG, Instances: []GPUInstance{}}
	for _, i := range facts.Instances {
		told.Instances = append(told.Instances, GPUInstance{Instance: i, VGPUs: []string{}})
	}
	if m != nil && told.Enabled && len(told.Instances) == 0 { // it says only that the mode is on
		told.Instances = m.Instances
	}
	return told
}

// migFiles finds a GPU's instances by their access files, which NVIDIA's driver lists by the
// GPU's device minor. The directory of the files is there in either mode: where it is empty, the
// mode is known to be on only if the GPU runs nothing and no virtual function of it can make
// anything.
func (s *scan) migFiles(address string, parents []Parent) *MIG {
	minor, ok := s.nvidiaMinor(address)
	if !ok {
		return nil
	}
	names, err := listDir(s.fs, "proc/driver/nvidia/capabilities/gpu"+minor+"/mig", s.buf)
	if err != nil && !absent(err) {
		return nil
	}
	m := &MIG{Enabled: err == nil, Instances: []GPUInstance{}}
	slices.SortFunc(names, compareNames)
	for _, name := range names {
		number, ok := strings.CutPrefix(name, "gi")
		if id, isNumber := parseCount(number); ok && isNumber {
			m.Instances = append(m.Instances, GPUInstance{Instance: Instance{ID: id}, VGPUs: []string{}})
		}
	}
	if m.Enabled && len(m.Instances) == 0 && !idleWithoutTypes(parents) {
		return nil
	}
	return m
}

func idleWithoutTypes(parents []Parent) bool {
	return len(parents) > 0 && !slices.ContainsFunc(parents, func(p Parent) bool {
		return p.PF == "" || len(p.Types) > 0 || len(p.Devices) > 0
	})
}

// settle notes which devices are in which instance, as far as the driver says.
func (m *MIG) settle(parents []Parent) {
	if m == nil {
		return
	}
	for i := range parents {
		for _, dev := range parents[i].Devices {
			if at := m.instanceOf(&dev); at >= 0 {
				m.Instances[at].VGPUs = append(m.Instances[at].VGPUs, dev.ID)
			}
		}
	}
}
