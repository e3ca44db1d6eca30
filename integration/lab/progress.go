package lab

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows the steps of a long piece of work: on a terminal a live line with the
// time that each running step has taken so far, elsewhere one line for each finished step.
// Its methods may be called from several goroutines. A nil Progress shows nothing.
type Progress struct {
	w    io.Writer
	live bool

	mu      sync.Mutex
	running []*step
	drawn   bool
	stop    chan struct{}
}

type step struct {
	name  string
	begun time.Time
}

// NewProgress returns a Progress that writes to w.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(*os.File)
	return &Progress{w: w, live: ok && term.IsTerminal(int(f.Fd()))}
}

// Step shows that the named step has begun; the returned function ends it.
func (p *Progress) Step(name string) (end func(error)) {
	if p == nil {
		return func(error) {}
	}
	s := &step{name, time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, s)
	if p.live && p.stop == nil {
		p.stop = make(chan struct{})
		go p.redraw(p.stop)
	}
	p.draw()
	return func(err error) { p.end(s, err) }
}

// Note shows a line between the steps.
func (p *Progress) Note(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, "lab: "+format+"\n", args...)
	p.draw()
}

func (p *Progress) end(s *step, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.running {
		if r == s {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	p.erase()
	outcome := ""
	if err != nil {
		outcome = ", failed"
	}
	fmt.Fprintf(p.w, "lab: %s: %.1f s%s\n", s.name, time.Since(s.begun).Seconds(), outcome)
	if len(p.running) == 0 && p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	p.draw()
}

func (p *Progress) redraw(stop <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *Progress) draw() {
	if !p.live || len(p.running) == 0 {
		return
	}
	parts := make([]string, 0, len(p.running))
	for _, s := range p.running {
		parts = append(parts, fmt.Sprintf("%s %.0f s", s.name, time.Since(s.begun).Seconds()))
	}
	fmt.Fprintf(p.w, "\r\x1b[Klab: %s", strings.Join(parts, " | "))
	p.drawn = true
}

func (p *Progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
