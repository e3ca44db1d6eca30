package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// entrySuffix ends the names of entries' files, if no other was chosen.
const entrySuffix = ".json"

// Entries are those of one place in a directory: a JSON value of one type under a
// name, any that is no longer than a few hundred bytes.
type Entries[T any] struct {
	dir    *Dir
	place  string
	name   func(T) string
	suffix string
	others []string // what else may be in the place
}

// In returns the entries of a place. name tells an entry's name from its content, so
// that one which was renamed or copied is found out.
func In[T any](dir *Dir, place string, name func(T) string) Entries[T] {
	return Entries[T]{dir: dir, place: place, name: name, suffix: entrySuffix}
}

// Beside returns the entries whose files end with a suffix such as ".op", in a place that
// has others too, which end with others. All of them have the lock of one name.
func (e Entries[T]) Beside(suffix string, others ...string) Entries[T] {
	e.suffix, e.others = suffix, others
	return e
}

// Path is the file of an entry.
func (e Entries[T]) Path(name string) string { return e.path(fileName(name)) }

func (e Entries[T]) path(file string) string {
	return filepath.Join(e.dir.path, e.place, file+e.suffix)
}

// Upgrade gives the entries of long names that an earlier version wrote the names of this
// one. What cannot be read is left to [Entries.All].
func (e Entries[T]) Upgrade() error {
	if err := e.dir.Writable(); err != nil {
		return err
	}
	files, err := e.dir.list(e.place)
	if err != nil {
		return err
	}
	for _, file := range files {
		base, ok := strings.CutSuffix(file.Name(), e.suffix)
		if !ok || !readsFormer(base) {
			continue
		}
		content, err := e.content(e.path(base))
		if err != nil {
			continue
		}
		name := e.name(content)
		if formerFileName(name) != base || fileName(name) == base || e.Has(name) {
			continue // it has its name, or another has it
		}
		if err := e.dir.Files.Rename(e.path(base), e.Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return e.dir.explain(err)
		}
	}
	return nil
}

// Write makes or replaces an entry. It is two syncs: of the file, and of its directory.
func (e Entries[T]) Write(content T) error {
	data, err := seal(content)
	if err != nil {
		return err
	}
	return e.dir.change(func() error { return e.dir.Files.Write(e.Path(e.name(content)), data) })
}

// MoveTo makes an entry one of another place, in one rename.
func (e Entries[T]) MoveTo(to Entries[T], name string) error {
	return e.dir.change(func() error { return e.dir.Files.Rename(e.Path(name), to.Path(name)) })
}

// Remove removes an entry, and then those of the same name in other places. It needs
// no space.
func (e Entries[T]) Remove(name string, others ...Entries[T]) error {
	paths := []string{e.Path(name)}
	for _, other := range others {
		paths = append(paths, other.Path(name))
	}
	return e.dir.change(func() error { return e.dir.remove(paths...) })
}

// Drop is Remove without a sync: after a loss of power the entry may be back. It is for
// what does no harm when it is done again, such as an operation that had ended.
func (e Entries[T]) Drop(name string) error {
	return e.dir.change(func() error {
		_, err := e.dir.unlink(e.Path(name))
		return err
	})
}

// Read reads an entry. One that is not whole is a *[Damaged].
func (e Entries[T]) Read(name string) (content T, ok bool, err error) {
	path := e.Path(name)
	content, err = e.Load(path)
	if err == nil && e.name(content) != name {
		err = e.renamed(path, content)
	}
	if err != nil {
		var none T
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return none, false, err
	}
	return content, true, nil
}

// Has tells whether there is an entry, whole or not.
func (e Entries[T]) Has(name string) bool {
	_, err := os.Lstat(e.Path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Load reads the entry in a file. One that is not whole is a *[Damaged]; what cannot
// be read, or not by this program, is another error and must be left alone.
func (e Entries[T]) Load(path string) (content T, err error) {
	content, err = e.content(path)
	if err == nil && path != e.Path(e.name(content)) {
		err = e.renamed(path, content)
	}
	if err != nil {
		var none T
		return none, err
	}
	return content, nil
}

// content is what the entry in a file says, whatever the file's name is.
func (e Entries[T]) content(path string) (content T, err error) {
	data, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return content, err
	case errors.Is(err, errNotRegular), errors.Is(err, errTooLarge):
		return content, &Damaged{Path: path, Err: errors.Unwrap(err)}
	case err != nil:
		return content, e.dir.explain(err)
	}
	switch err := unseal(data, &content); {
	case errors.Is(err, errNewer):
		return content, &fault.Error{
			Object: path, Kind: fault.State, Err: err,
			Next: "use the newer program; or, if none is in use any more, move the file away and see to its vGPUs by hand",
		}
	case err != nil:
		return content, &Damaged{Path: path, Err: err}
	}
	return content, nil
}

func (e Entries[T]) renamed(path string, content T) *Damaged {
	return &Damaged{Path: path, Err: fmt.Errorf("it is of %q: it was renamed or copied", e.name(content))}
}

// All reads every entry, by name. What cannot be read comes back by path; the
// temporary files of writers are [Dir.Leftovers].
func (e Entries[T]) All() (entries map[string]T, unread map[string]error, err error) {
	files, err := e.dir.list(e.place)
	if err != nil {
		return nil, nil, err
	}
	entries, unread = make(map[string]T, len(files)), map[string]error{}
	for _, file := range files {
		path := filepath.Join(e.dir.path, e.place, file.Name())
		switch {
		case isTemp(file), e.another(file.Name()):
		case !strings.HasSuffix(file.Name(), e.suffix):
			unread[path] = &Damaged{Path: path, Err: errors.New("not an entry of ours")}
		default:
			content, err := e.Load(path)
			if err == nil {
				entries[e.name(content)] = content
			} else if !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				unread[path] = err
			}
		}
	}
	return entries, unread, nil
}

// another tells whether a file is an entry of another kind in the same place.
func (e Entries[T]) another(file string) bool {
	return slices.ContainsFunc(e.others, func(suffix string) bool { return strings.HasSuffix(file, suffix) })
}
