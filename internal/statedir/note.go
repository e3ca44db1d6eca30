package statedir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// holder is what the one who has a lock notes in a file, for the error of those that
// wait. It is a courtesy: a full disk must not keep anybody from working.
type holder struct {
	PID       int       `json:"pid"`
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
}

func (h holder) String() string {
	return fmt.Sprintf("process %d has been at %q since %s", h.PID, h.Operation, h.Since.Format(time.RFC3339))
}

// notable is how long a lock is held before that is noted: nobody gives up sooner.
const notable = 5 * time.Millisecond

// noteSoon notes who has a lock, if he has it for long, and returns what takes the note away.
func noteSoon(path, operation string) (withdraw func()) {
	var mu sync.Mutex
	over, noted := false, false
	h := holder{PID: os.Getpid(), Operation: operation, Since: time.Now().UTC().Truncate(time.Second)}
	timer := time.AfterFunc(notable, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			writeNote(path, h)
			noted = true
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		if over = true; noted {
			_ = unix.Unlink(path)
		}
	}
}

// writeNote replaces what a holder that died has left, without opening it.
func writeNote(path string, h holder) {
	line, err := json.Marshal(h)
	if err != nil {
		return
	}
	fd, err := openFile(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil && unix.Unlink(path) == nil {
		fd, err = openFile(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	}
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, append(line, '\n'))
	_ = unix.Close(fd)
}

func readNote(path string) (h holder, ok bool) {
	data, err := readFile(path)
	if err != nil || json.Unmarshal(bytes.TrimSpace(data), &h) != nil {
		return holder{}, false
	}
	return h, h.PID != 0
}

// SweepNotes removes the notes of holders that died.
func (d *Dir) SweepNotes() {
	notes, _ := os.ReadDir(filepath.Join(d.path, locksDir))
	for _, note := range notes {
		if unlock, ok := d.tryLock(note.Name(), "sweep"); ok {
			_ = unix.Unlink(d.notePath(note.Name()))
			unlock()
		}
	}
}
