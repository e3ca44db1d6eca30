package lab

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Push copies a file or directory into the machine. A guest path that is relative starts at
// /lab; one that ends in a slash is a directory to put it in.
func (m *Machine) Push(ctx context.Context, hostPath, guestPath string) error {
	if _, err := os.Stat(hostPath); err != nil {
		return err
	}
	guestPath = guestTarget(hostPath, guestPath)
	read, write := io.Pipe()
	go func() { write.CloseWithError(pack(write, hostPath, path.Base(guestPath))) }()
	defer read.Close()
	var stderr strings.Builder
	dir := path.Dir(guestPath)
	err := m.Run(ctx, Command{
		Shell: "mkdir -p " + quote(dir) + " && exec tar -x -f - --no-same-owner -C " + quote(dir),
		Dir:   "/", Stdin: read, Stderr: &stderr,
	})
	if err != nil {
		return fmt.Errorf("push %s to %s: %w%s", hostPath, guestPath, err, said(stderr.String()))
	}
	return nil
}

// Pull copies a file or directory out of the machine. A host path that ends in a slash is a
// directory to put it in.
func (m *Machine) Pull(ctx context.Context, guestPath, hostPath string) error {
	guestPath = path.Join(guestDir, guestPath)
	if strings.HasSuffix(hostPath, "/") {
		hostPath = filepath.Join(hostPath, path.Base(guestPath))
	}
	read, write := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(read, path.Base(guestPath), hostPath)
		read.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		unpacked <- err
	}()
	var stderr strings.Builder
	err := m.Run(ctx, Command{
		Args: []string{"tar", "-c", "-f", "-", "-C", path.Dir(guestPath), "--", path.Base(guestPath)},
		Dir:  "/", Stdout: write, Stderr: &stderr,
	})
	write.Close()
	if e := <-unpacked; err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("pull %s to %s: %w%s", guestPath, hostPath, err, said(stderr.String()))
	}
	return nil
}

func said(stderr string) string {
	if stderr = strings.TrimSpace(stderr); stderr == "" {
		return ""
	}
	return ": " + stderr
}

func guestTarget(hostPath, guestPath string) string {
	if guestPath == "" || strings.HasSuffix(guestPath, "/") {
		guestPath += filepath.Base(hostPath)
	}
	if !path.IsAbs(guestPath) {
		guestPath = path.Join(guestDir, guestPath)
	}
	return path.Clean(guestPath)
}

// pack writes a file or a directory as an archive in which it is called name.
func pack(w io.Writer, from, name string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var info fs.FileInfo
		if file == from { // follow a link that was named
			info, err = os.Stat(file)
		} else {
			info, err = d.Info()
		}
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(file); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		header.Name = path.Join(name, filepath.ToSlash(rel))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(archive, f)
		return err
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// unpack reads an archive of name and its contents to the host path to. Names that lead
// elsewhere are refused: the machine is not trusted.
func unpack(r io.Reader, name, to string) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(name, path.Clean(h.Name))
		if err != nil || !filepath.IsLocal(rel) {
			return fmt.Errorf("the archive holds %q, which lies outside of %q", h.Name, name)
		}
		target := filepath.Join(to, rel)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(target, 0o755)
		case tar.TypeReg:
			err = unpackFile(archive, target, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(r io.Reader, target string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
