package statedir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// writeNote replaces what a holder that died has left, without opening it.
func writeNote(path, operation string) {
	line, err := json.Marshal(holder{PID: os.Getpid(), Operation: operation, Since: time.Now().UTC().Truncate(time.Second)})
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
			unlock() // takes the note away
		}
	}
}
