package placement

// MaxVGPUs is how many vGPUs one VM can have; NVIDIA's limit.
const MaxVGPUs = 16

// Request is one vGPU that a VM shall have.
type Request struct {
	// Type is the vGPU's type, by id ("nvidia-22") or by name ("GRID M60-8Q").
	Type string `json:"type"`
	// Parent pins the vGPU to a parent or to a physical GPU by its sysfs name.
	// Empty: the policy chooses.
	Parent string `json:"parent,omitempty"`
}

// Policy says which of the GPUs that could take a vGPU gets it. Pack is NVIDIA's
// depth-first policy, Spread its breadth-first.
type Policy string

// The policies. None takes a GPU on which the driver would refuse the vGPU, or which
// the options forbid.
const (
	// Pack, the default, fills GPUs: one that already runs vGPUs of this size
	// before an empty one, the fullest first, and of empty ones the one whose
	// largest profile is smallest. So large profiles stay placeable.
	Pack Policy = "pack"
	// Spread takes the least loaded GPU, on the least loaded host. See
	// [Options.KeepEmpty] for what that costs large profiles.
	Spread Policy = "spread"
	// NUMA packs on GPUs near [Options.NUMANode], and takes others only when those
	// have no room, or never if [Options.Strict].
	NUMA Policy = "numa"
	// Pinned requires that each [Request] names its Parent. Under the other
	// policies a Request may do so too.
	Pinned Policy = "pinned"
)

// Options narrow down where the vGPUs of one VM may go. The zero value packs and
// forbids nothing.
type Options struct {
	// Policy is Pack if empty.
	Policy Policy `json:"policy,omitempty"`
	// Host is the only host to consider. Empty: all of the snapshot.
	Host string `json:"host,omitempty"`
	// NUMANode is where the VM's memory is; NUMA needs it. On a host whose
	// kernel knows no GPU's node, all GPUs are near.
	NUMANode *int `json:"numa_node,omitempty"`
	// Strict forbids GPUs of other NUMA nodes, under NUMA.
	Strict bool `json:"strict,omitempty"`
	// AntiAffinity puts each vGPU of the VM on a GPU of its own.
	AntiAffinity bool `json:"anti_affinity,omitempty"`
	// Existing is what the VM has already: the new vGPUs go to the same host, and
	// the rules for several vGPUs in one VM count these.
	Existing []Use `json:"existing,omitempty"`
	// Avoid is what the other VMs of an anti-affinity group use: the GPUs, and
	// where a Use has no GPU the whole hosts, that are forbidden.
	Avoid []Use `json:"avoid,omitempty"`
	// KeepEmpty is how many empty GPUs each host keeps for large profiles, under
	// Spread: it opens one of them for a smaller profile only when no GPU that
	// runs this size has room. 0: it opens empty GPUs first, always.
	KeepEmpty int `json:"keep_empty,omitempty"`
}

// Use is a GPU, or a host, that a VM has a vGPU on.
type Use struct {
	Host string `json:"host,omitempty"`
	GPU  string `json:"gpu,omitempty"`  // the GPU's or a parent's name
	Type string `json:"type,omitempty"` // id or name; needed in Options.Existing
}
