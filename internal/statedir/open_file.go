package statedir

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// mostOfFile is more than any entry has: what is larger is none.
const mostOfFile = 16 << 20

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("too large for an entry of ours")
)

// openFile opens a file for this process alone: it follows no link and waits for
// nothing, whatever stands at the path.
func openFile(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		err = errNotRegular
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// readFile reads a regular file. Of anything else it says that it is none.
func readFile(path string) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	if stat.Size > mostOfFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	return readAll(fd, path, make([]byte, stat.Size+1))
}

// readAll reads a file that grows no more: one that fits the buffer with room to spare is
// whole.
func readAll(fd int, path string, buf []byte) ([]byte, error) {
	for at := 0; ; {
		n, err := unix.Read(fd, buf[at:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if at += n; n == 0 || at < len(buf) {
			return buf[:at], nil
		}
		if at > mostOfFile {
			return nil, &fs.PathError{Op: "read", Path: path, Err: errTooLarge}
		}
		buf = append(buf, make([]byte, len(buf))...)
	}
}
