package placement

// order is how good a candidate is, the most telling number first; the lower is taken.
type order [5]int32

func (a *order) compare(b *order) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// order is how good a GPU in a state is for a vGPU that it has room for. opened: how
// many empty GPUs of the host the VM's other vGPUs open.
func (d *decision) order(a *sought, h int, g *gpu, s *state, left, opened int) order {
	used := int32(d.hosts[h].used)
	if d.spread {
		most := max(int(s.model.slots[a.slots[s.model.index]].max), left)
		load := int32(4095 * (most - left + 1) / most)
		keep := d.empty != nil && s.used == 0 && s.top > a.size && d.empty[h]-opened <= d.options.KeepEmpty
		return order{number(keep), load, s.top, used}
	}
	return order{number(!d.near(g)), number(s.used == 0), s.top, int32(left), -used}
}

func number(yes bool) int32 {
	if yes {
		return 1
	}
	return 0
}

// best is the best GPU of all for the only request.
func (d *decision) best() (host, gpu int, ok bool) {
	b := best{decision: d, sought: &d.types[d.wants[0].sought]}
	if w := &d.wants[0]; w.pinned {
		for _, at := range w.spots {
			if h := int(at.host); h >= d.from && h < d.to && d.isOpen(at) {
				b.try(h, int(at.gpu))
			}
		}
		return b.host, b.gpu, b.found
	}
	for h := d.from; h < d.to; h++ {
		for i := range d.hosts[h].gpus {
			if !d.hosts[h].gpus[i].reserved() {
				b.try(h, i)
			}
		}
	}
	return b.host, b.gpu, b.found
}

// best is the best GPU that was tried.
type best struct {
	*decision
	sought    *sought
	found     bool
	host, gpu int
	order     order
}

func (b *best) try(h, i int) {
	g := &b.hosts[h].gpus[i]
	left := b.sought.left(g.state)
	if left <= 0 {
		return
	}
	o := b.decision.order(b.sought, h, g, g.state, left, 0)
	if (!b.found || o.compare(&b.order) < 0) && !b.forbidden(h, i) {
		b.found, b.host, b.gpu, b.order = true, h, i, o
	}
}
