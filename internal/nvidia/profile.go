package nvidia

import (
	"strconv"
	"strings"
)

// Profile is what a GPU instance of a GPU in MIG mode has, by the name that nvidia-smi
// gives it: "3g.20gb", "1g.24gb+gfx".
type Profile struct {
	Slices    int    // of compute, 1 to 7
	GiB       int    // as its types are named; NVML tells of a little less
	Attribute string // "+me", "+me.all", "-me", "+gfx" or empty
}

// attributes are those of profiles, by the variant of the types that need them.
var attributes = map[string]string{"": "", "ME": "+me", "MEALL": "+me.all", "NOME": "-me", "GFX": "+gfx"}

// ParseProfile reads a profile's name; false when it is none. A name that is read is
// [Profile.String] again.
func ParseProfile(name string) (Profile, bool) {
	var p Profile
	var ok bool
	if p.Slices, name, ok = number(name, 7); !ok || p.Slices == 0 || !strings.HasPrefix(name, "g.") {
		return Profile{}, false
	}
	if p.GiB, name, ok = number(name[len("g."):], maxGiB); !ok || p.GiB == 0 || !strings.HasPrefix(name, "gb") {
		return Profile{}, false
	}
	p.Attribute = name[len("gb"):]
	for _, known := range attributes {
		if p.Attribute == known {
			return p, true
		}
	}
	return Profile{}, false
}

// String is the profile's name.
func (p Profile) String() string {
	return strconv.Itoa(p.Slices) + "g." + strconv.Itoa(p.GiB) + "gb" + p.Attribute
}

// Holds is how many vGPUs of a type one instance holds; they are of one size. It is 0 for
// a type that needs another instance.
func (p Profile) Holds(t Type) int {
	switch {
	case t.Slices == 0 || t.Slices != p.Slices:
		return 0
	case !t.SharesInstance():
		if own, ok := t.Profile(); ok && own == p {
			return 1
		}
		return 0
	case !p.draws(t):
		return 0
	}
	return int(uint64(p.GiB) << 30 / t.Framebuffer())
}

// draws tells whether an instance has the attribute that a type which shares one needs. Types
// of the RTX PRO 6000 run where there are graphics only, though their names do not say so.
func (p Profile) draws(t Type) bool {
	if t.Variant != "" {
		return attributes[t.Variant] == p.Attribute
	}
	return p.Attribute == "+gfx" || p.Attribute == "" && !strings.HasSuffix(t.Board, " 6000 Blackwell DC")
}

// SharesInstance tells a MIG-backed type of the boards where vGPUs share the time of one GPU
// instance. The names of their types have "DC" for the board, or behind it.
func (t Type) SharesInstance() bool {
	return t.Slices > 0 && (t.Board == "DC" || strings.HasSuffix(t.Board, " DC"))
}

// Profile is the GPU instance that one vGPU of a MIG-backed type has for itself; false for
// other types, for those that share one, and for variants that name no attribute.
func (t Type) Profile() (Profile, bool) {
	attribute, ok := attributes[t.Variant]
	if !ok || t.Slices == 0 || t.GiB == 0 || t.SharesInstance() {
		return Profile{}, false
	}
	return Profile{t.Slices, t.GiB, attribute}, true
}
