package statedir

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// mostTries is how often a mark may be gone again before it could be read, or its temporary
// file be swept before it was a mark.
const mostTries = 16

// youngest is how old a temporary file is at least whose taker has died.
const youngest = time.Minute

// Marks are those of one place in a directory: each is a name that is taken, and by whom.
// A name is free or taken, never half; of several that take it one gets it. Nothing is
// synced: marks are for what no loss of power outlives, and [Dir.EnterBoot] removes
// those of another boot, whole or not.
//
// In a directory below /run (see [NotesPath]) they are notes: what this boot has seen.
type Marks[T any] struct{ entries Entries[T] }

// MarksIn returns the marks of a place. name tells which name a mark takes.
func MarksIn[T any](dir *Dir, place string, name func(T) string) Marks[T] {
	return Marks[T]{In(dir, place, name)}
}

// Taken is the error that a name is taken already. It is [fs.ErrExist].
type Taken[T any] struct {
	Name string
	By   T     // the mark that is there, if it could be read
	Err  error // why it could not, a *[Damaged] for one
}

func (e *Taken[T]) Error() string {
	if e.Err != nil {
		return e.Name + " is taken, by a mark that cannot be read: " + e.Err.Error()
	}
	return e.Name + " is taken"
}

// Unwrap returns [fs.ErrExist] and why the mark could not be read.
func (e *Taken[T]) Unwrap() []error {
	if e.Err != nil {
		return []error{fs.ErrExist, e.Err}
	}
	return []error{fs.ErrExist}
}

// Path is the file of a mark.
func (m Marks[T]) Path(name string) string { return m.entries.Path(name) }

// Take makes a mark whose name is free. Otherwise the error is a *[Taken], and the mark
// that is there stays as it is.
func (m Marks[T]) Take(mark T) error {
	data, err := seal(mark)
	if err != nil {
		return err
	}
	name := m.entries.name(mark)
	taken := &Taken[T]{Name: name, Err: errors.New("it comes and goes")}
	for range mostTries {
		err := m.place(m.entries.dir.Files.Create, name, data)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if by, ok, err := m.Read(name); ok || err != nil {
			taken.By, taken.Err = by, err
			break
		}
	}
	return taken
}

// First takes the name, and returns the mark that has it: this one, or the one that was
// there before. One that cannot be read is a *[Taken].
func (m Marks[T]) First(mark T) (T, error) {
	err := m.Take(mark)
	var taken *Taken[T]
	if errors.As(err, &taken) && taken.Err == nil {
		return taken.By, nil
	}
	return mark, err
}

// Replace makes a mark, whoever has the name.
func (m Marks[T]) Replace(mark T) error {
	data, err := seal(mark)
	if err != nil {
		return err
	}
	return m.place(m.entries.dir.Files.Put, m.entries.name(mark), data)
}

// Read reads a mark. With an error, a *[Damaged] for one, the name counts as taken.
func (m Marks[T]) Read(name string) (mark T, ok bool, err error) { return m.entries.Read(name) }

// Load reads the mark in a file: see [Entries.Load].
func (m Marks[T]) Load(path string) (mark T, err error) { return m.entries.Load(path) }

// Has tells whether a name is taken, by a mark that can be read or not.
func (m Marks[T]) Has(name string) bool { return m.entries.Has(name) }

// Remove frees a name. It needs no space.
func (m Marks[T]) Remove(name string) error { return m.entries.Drop(name) }

// All reads every mark, by name. What cannot be read comes back by path: those names
// are taken too.
func (m Marks[T]) All() (marks map[string]T, unread map[string]error, err error) {
	return m.entries.All()
}

// Sweep removes the temporary files of takers that died. It needs no lock: it leaves those
// of the last minute, and a taker that was stopped for longer makes its own again.
func (m Marks[T]) Sweep() error {
	d := m.entries.dir
	leftovers, err := d.Leftovers(m.entries.place)
	if err != nil {
		return err
	}
	leftovers = slices.DeleteFunc(leftovers, func(path string) bool {
		info, err := os.Lstat(path)
		return err != nil || time.Since(info.ModTime()).Abs() < youngest
	})
	return d.change(func() error {
		_, err := d.unlink(leftovers...)
		return err
	})
}

// place puts a mark's file in its place.
func (m Marks[T]) place(put func(path string, data []byte) error, name string, data []byte) (err error) {
	for range mostTries {
		err = m.entries.dir.change(func() error { return put(m.Path(name), data) })
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}
