package vgpu

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// The state directory, 0700 and its files 0600:
//
//	journal/<vm>.json   an operation that is not finished: written before its first effect, gone after its last
//	vms/<vm>.json       a claim: which vGPUs we made for the VM; an undefined VM's leftovers are found by it
//	vfs/<address>.json  a lease: which VM's vGPU a virtual function is; it has no UUID that would say so
//	damaged/            entries that could not be read, set aside
//	locks/              lock files, one for each VM, each physical GPU and each virtual function
const (
	journalDir = "journal"
	claimsDir  = "vms"
	leasesDir  = "vfs"
	damagedDir = "damaged"
	locksDir   = "locks"
)

// storeVersion is the version of the files' format. Readers refuse a newer one.
const storeVersion = 1

// record is what is stored of one VM, as intent or as claim.
type record struct {
	VM        string    `json:"vm"`
	UUID      uuid.UUID `json:"uuid"` // the VM's, zero if the document had none
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
	PID       int       `json:"pid"`
	Lifetime  Lifetime  `json:"lifetime"`
	Devices   []device  `json:"devices"`
	// Hypervisor is the URI of the libvirt that has the VM.
	Hypervisor string `json:"hypervisor"`
	// Placement is where the caller wants the VM's vGPUs, also when they are made
	// again.
	Placement placement.Options `json:"placement,omitzero"`
	// Makes has the ids of the devices that the operation makes, and so may
	// remove when it is undone.
	Makes []string `json:"makes,omitempty"`
	// Was has the VM's vGPUs before some of them moved, once the VM's document is
	// about to be changed for that.
	Was []device `json:"was,omitempty"`
	// Stop and Teardown are the caller's wishes, so that an interrupted operation
	// can be finished as it was meant.
	Stop     *StopOptions     `json:"stop,omitempty"`
	Teardown *TeardownOptions `json:"teardown,omitempty"`
}

// device is one vGPU of a VM, as stored and as in the document's metadata.
type device struct {
	ID     string       `json:"id"` // UUID or VF address
	Type   string       `json:"type"`
	Parent string       `json:"parent"`
	Params []mdev.Param `json:"params,omitempty"`
	// Pin is the parent or GPU that the caller asked for; empty: any will do.
	Pin string `json:"pin,omitempty"`
}

// vf tells that the device is a virtual function under the vendor-specific
// framework: its id is an address, not a UUID.
func (d device) vf() bool {
	_, err := uuid.Parse(d.ID)
	return err != nil
}

// envelope guards a record against bits that changed: a wrong UUID must never
// be taken for ours.
type envelope struct {
	Version  int             `json:"vgpukit"`
	Checksum string          `json:"sha256"`
	Record   json.RawMessage `json:"record"`
}

// store keeps the records. It is safe for concurrent use as long as the VM's
// lock is held for whatever is written.
type store struct {
	dir string
	// effect, if set, does the changes of the directory: tests let some fail.
	effect func(what, path string, do func() error) error
}

// change changes something in the state directory.
func (s store) change(what, path string, do func() error) error {
	if s.effect == nil {
		return do()
	}
	return s.effect(what, path, do)
}

func openStore(dir string) (store, error) {
	s := store{dir: dir}
	for _, sub := range []string{journalDir, claimsDir, leasesDir, damagedDir, locksDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return store{}, err
		}
	}
	return s, nil
}

func (s store) path(sub, vm string) string {
	return filepath.Join(s.dir, sub, fileName(vm)+".json")
}

// fileName turns a name into one that is safe as a file's: escaped, and cut with
// a checksum when long.
func fileName(name string) string {
	safe := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	if len(safe) > 150 {
		sum := sha256.Sum256([]byte(name))
		safe = safe[:100] + "-" + hex.EncodeToString(sum[:16])
	}
	return safe
}

// encode gives the bytes of a record's file.
func (r record) encode() ([]byte, error) { return seal(r) }

// seal puts what is stored into its envelope.
func seal(content any) ([]byte, error) {
	inner, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(inner)
	out, err := json.MarshalIndent(envelope{Version: storeVersion, Checksum: hex.EncodeToString(sum[:]), Record: inner}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// decode reads a record's file.
func decode(data []byte) (r record, err error) {
	return r, unseal(data, &r)
}

// errNewer is an entry that is whole, but nothing for this program.
var errNewer = errors.New("written by a newer version of this program")

// unseal takes what is stored out of its envelope, and refuses what is cut off,
// changed, or of a version that we do not know.
func unseal(data []byte, content any) error {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	if e.Version > storeVersion {
		return fmt.Errorf("%w: version %d of the format, and this program knows %d", errNewer, e.Version, storeVersion)
	}
	if e.Version < 1 {
		return errors.New("not an entry of ours: it has no version")
	}
	var inner bytes.Buffer
	if err := json.Compact(&inner, e.Record); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	if sum := sha256.Sum256(inner.Bytes()); hex.EncodeToString(sum[:]) != e.Checksum {
		return errors.New("its checksum does not match: it was changed or damaged")
	}
	if err := json.Unmarshal(inner.Bytes(), content); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	return nil
}

// begin writes the intent, before the first effect of an operation and each
// time that the intent changes.
func (s store) begin(r record) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	return s.write(s.path(journalDir, r.VM), data)
}

func (s store) write(path string, data []byte) error {
	return s.explain(s.change("write", path, func() error { return atomicfile.Write(path, data, 0o600) }))
}

// settle makes the intent the VM's claim, in one rename: the devices it names
// are there to stay.
func (s store) settle(vm string) error {
	from, to := s.path(journalDir, vm), s.path(claimsDir, vm)
	return s.explain(s.change("rename", from, func() error { return rename(from, to) }))
}

func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(filepath.Dir(to)), atomicfile.SyncDir(filepath.Dir(from)))
}

// end takes the intent away, after the last effect was seen. It needs no space.
func (s store) end(vm string) error { return s.remove(vm, journalDir) }

// forget takes the claim away, and then the intent, if there is one.
func (s store) forget(vm string) error { return s.remove(vm, claimsDir, journalDir) }

// remove removes what is stored under a name. The directories are synced last:
// whichever removals a loss of power undoes, Reconcile does them again.
func (s store) remove(name string, subs ...string) error {
	var removed []string
	for _, sub := range subs {
		path := s.path(sub, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := s.change("remove", path, func() error { return os.Remove(path) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.explain(err)
		}
		removed = append(removed, filepath.Dir(path))
	}
	var failures []error
	for _, dir := range removed {
		failures = append(failures, atomicfile.SyncDir(dir))
	}
	return s.explain(errors.Join(failures...))
}

// read reads what is stored of a VM as intent (journalDir) or claim (claimsDir).
func (s store) read(sub, vm string) (record, bool, error) {
	path := s.path(sub, vm)
	r, err := s.load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err == nil && r.VM != vm {
		err = renamed(path, r)
	}
	return r, err == nil, err
}

// knows tells whether anything is stored of a VM.
func (s store) knows(vm string) bool {
	for _, sub := range []string{journalDir, claimsDir} {
		if _, err := os.Lstat(s.path(sub, vm)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// load reads one file. What is damaged is a *damagedError; what cannot be read, or
// not by this program, must be left alone.
func (s store) load(path string) (record, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, err
	}
	if err != nil {
		return record{}, s.explain(err)
	}
	r, err := decode(data)
	switch {
	case errors.Is(err, errNewer):
		return record{}, &Error{Object: path, Kind: ErrState, Err: err, Next: "use the newer program; or, if none is in use any more, move the file away and see to its vGPUs by hand"}
	case err != nil:
		return record{}, &damagedError{path: path, err: err}
	case fileName(r.VM)+".json" != filepath.Base(path):
		return record{}, renamed(path, r)
	}
	return r, nil
}

func renamed(path string, r record) *damagedError {
	return &damagedError{path: path, err: fmt.Errorf("it is of VM %q: it was renamed or copied", r.VM)}
}

// damagedError is an entry that is not whole. It is set aside under the VM's lock.
type damagedError struct {
	path string
	err  error
}

func (e *damagedError) Error() string { return e.path + ": " + e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// setAside moves a damaged entry away, so that it is in nobody's way and can be
// looked at.
func (s store) setAside(e *damagedError) (string, error) {
	sub := filepath.Base(filepath.Dir(e.path))
	to := filepath.Join(s.dir, damagedDir, fmt.Sprintf("%s-%s-%d", sub, filepath.Base(e.path), time.Now().UnixNano()))
	return to, s.explain(s.change("rename", e.path, func() error { return rename(e.path, to) }))
}

// all reads every record of one kind, by VM. What cannot be read comes back by
// path; the temporary files of writers are left to tidy.
func (s store) all(sub string) (records map[string]record, unread map[string]error, err error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, sub))
	if err != nil {
		return nil, nil, s.explain(err)
	}
	records, unread = make(map[string]record, len(entries)), map[string]error{}
	for _, entry := range entries {
		path := filepath.Join(s.dir, sub, entry.Name())
		switch {
		case atomicfile.IsTemp(entry.Name()):
		case !strings.HasSuffix(entry.Name(), ".json"):
			unread[path] = &damagedError{path: path, err: errors.New("not an entry of ours")}
		default:
			r, err := s.load(path)
			if err == nil {
				records[r.VM] = r
			} else if !errors.Is(err, fs.ErrNotExist) { // finished meanwhile
				unread[path] = err
			}
		}
	}
	return records, unread, nil
}

// explain adds to an error of the state directory what to do about it.
func (s store) explain(err error) error {
	if err == nil {
		return nil
	}
	next := "see that the state directory " + s.dir + " can be written by this user"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		next = "make room on the file system of the state directory " + s.dir
	case errors.Is(err, syscall.EROFS):
		next = "the state directory " + s.dir + " is on a read-only file system: choose another, or mount it writable"
	case errors.Is(err, fs.ErrPermission):
		next = "run as the user who owns the state directory " + s.dir + ", or choose another"
	}
	return &Error{Op: "state directory", Object: s.dir, Kind: ErrUnavailable, Err: err, Next: next}
}
