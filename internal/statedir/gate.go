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
	idle    []int // the lock file, open, for the next lanes
}

// mostIdle is how many files are kept open for the next lanes while there are holders.
const mostIdle = 64

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
		l, err := openNewLane(path, theGate)
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

// keep takes a file that a lane needs no more; false: the lane closes it.
func (g *gate) keep(fd int) bool {
	gates.Lock()
	defer gates.Unlock()
	if gates.at[g.path] != g || len(g.idle) == mostIdle {
		return false
	}
	g.idle = append(g.idle, fd)
	return true
}

// idleFile returns the lock file as a lane has left it open; a nil lender: there is none.
func idleFile(path string) (fd int, lender *gate) {
	gates.Lock()
	defer gates.Unlock()
	g := gates.at[path]
	if g == nil || len(g.idle) == 0 {
		return -1, nil
	}
	last := len(g.idle) - 1
	fd, g.idle = g.idle[last], g.idle[:last]
	return fd, g
}

func (g *gate) leave() {
	gates.Lock()
	defer gates.Unlock()
	if g.holders--; g.holders > 0 {
		return
	}
	g.forget()
	for _, fd := range g.idle {
		_ = unix.Close(fd)
	}
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
