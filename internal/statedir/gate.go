package statedir

import (
	"sync"

	"golang.org/x/sys/unix"
)

// gate is the door of [theGate], which all of this process who have or want a lock have
// locked together, once for all of them. It is a file opened for itself: the kernel lists the
// locks of each open file together, and tickets are looked for in the order in which they were
// taken.
type gate struct {
	*lane
	holders int
}

// gates are those of this process, by the path of the lock file.
var gates = struct {
	sync.Mutex
	at map[string]*gate
}{at: map[string]*gate{}}

// shareGate returns nil if somebody has the gate alone.
func shareGate(path string) (*gate, error) {
	gates.Lock()
	defer gates.Unlock()
	g := gates.at[path]
	if g == nil {
		l, err := openLane(path, theGate)
		if err != nil {
			return nil, err
		}
		if ok, err := l.take(unix.F_RDLCK, door); err != nil || !ok {
			l.close()
			return nil, err
		}
		g = &gate{lane: l}
		gates.at[path] = g
	}
	g.holders++
	return g, nil
}

func (g *gate) leave() {
	gates.Lock()
	defer gates.Unlock()
	if g.holders--; g.holders > 0 {
		return
	}
	g.forget()
	g.close()
}

// gone tells whether the lock file was removed: then the next one opens the new one.
func (g *gate) gone() (bool, error) {
	gone, err := g.lane.gone()
	if gone {
		gates.Lock()
		defer gates.Unlock()
		g.forget()
	}
	return gone, err
}

func (g *gate) forget() {
	if gates.at[g.path] == g {
		delete(gates.at, g.path)
	}
}
