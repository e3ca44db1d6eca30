package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// What the machine has beyond Debian: guest, and the modules that simulate boards.
//
//go:embed all:guest
var guestFiles embed.FS

//go:embed all:nvsim
var nvsimFiles embed.FS

// diskSize is the size of the root file system; it takes only what is written to it.
const diskSize = "4G"

// Image is a machine that can be booted: a directory in the cache.
type Image struct {
	// Dir holds it.
	Dir string
}

func (i Image) disk() string      { return filepath.Join(i.Dir, "root.img") }
func (i Image) kernel() string    { return filepath.Join(i.Dir, "vmlinux") }
func (i Image) initramfs() string { return filepath.Join(i.Dir, "initramfs") }
func (i Image) userKey() string   { return filepath.Join(i.Dir, "user_key") }
func (i Image) hostKey() string   { return filepath.Join(i.Dir, "host_key.pub") }

// Build makes the image that the options ask for, unless the cache has it, and first
// installs what this needs on the host. Cancelled, it leaves nothing half-made.
func Build(ctx context.Context, o Options) (Image, error) {
	if err := o.validate(); err != nil {
		return Image{}, err
	}
	dir, err := o.cache()
	if err != nil {
		return Image{}, err
	}
	c, err := openCache(dir)
	if err != nil {
		return Image{}, err
	}
	key, err := imageKey(o.nvsim())
	if err != nil {
		return Image{}, err
	}
	if err := install(ctx, o.Progress, toBoot); err != nil {
		return Image{}, err
	}
	e, err := c.entry(ctx, "image", key, func(ctx context.Context, dir string) error {
		if err := install(ctx, o.Progress, toBuild); err != nil {
			return err
		}
		if err := tryConfined(ctx); err != nil {
			return err
		}
		b, err := buildBase(ctx, c, o.Progress)
		if err != nil {
			return err
		}
		defer b.release()
		return buildImage(ctx, b, Image{dir}, o)
	})
	if err != nil {
		return Image{}, fmt.Errorf("build the lab's image: %w", err)
	}
	defer e.release()
	for kind, keep := range map[string]int{"image": keepImages, "base": keepBases} {
		if err := c.prune(kind, keep); err != nil {
			o.Progress.Note("old entries of the cache stay: %v", err)
		}
	}
	return Image{e.dir}, nil
}

// Clean removes every image that no machine runs from.
func Clean(o Options) error {
	dir, err := o.cache()
	if err != nil {
		return err
	}
	c, err := openCache(dir)
	if err != nil {
		return err
	}
	for _, kind := range []string{"image", "base"} {
		if err := c.prune(kind, 0); err != nil {
			return err
		}
	}
	return nil
}

func buildImage(ctx context.Context, b base, image Image, o Options) error {
	root := filepath.Join(image.Dir, "root")
	err := timed(o.Progress, "put the machine together", func() error {
		// Hard links: the base is never written to through them, only names are replaced.
		if _, err := confined(ctx, nil, "cp", "-al", "--", b.userland(), root); err != nil {
			return err
		}
		if err := overlay(guestFiles, "guest/root", root); err != nil {
			return err
		}
		if err := settle(root); err != nil {
			return err
		}
		if err := makeKeys(ctx, image, root); err != nil {
			return err
		}
		return installKernel(ctx, b, image, root)
	})
	if err != nil {
		return err
	}
	if o.nvsim() {
		err := timed(o.Progress, "build the simulated boards", func() error {
			return installNVSim(ctx, b, image, root)
		})
		if err != nil {
			return err
		}
	}
	return timed(o.Progress, "write the disk", func() error {
		if _, err := inRoot(ctx, root, "", "depmod", kernelVersion(root)); err != nil {
			return err
		}
		if _, err := confined(ctx, nil, "mke2fs", "-q", "-t", "ext4", "-d", root, image.disk(), diskSize); err != nil {
			return err
		}
		return removeTree(root)
	})
}

// settle makes the directory that commands start in, leaves it to each boot to choose its
// machine's id, tells systemd that the first boot's chores (ConditionNeedsUpdate=) are done,
// and what to start and what not.
func settle(root string) error {
	if err := os.MkdirAll(filepath.Join(root, guestDir), 0o755); err != nil {
		return err
	}
	for _, f := range []string{"etc/machine-id", "etc/.updated", "var/.updated"} {
		if err := replace(filepath.Join(root, f), nil, 0o644); err != nil {
			return err
		}
	}
	masked, err := guestFiles.ReadFile("guest/masked")
	if err != nil {
		return err
	}
	links := map[string]string{"default.target": "lab.target"}
	for _, unit := range listed(string(masked)) {
		links[unit] = "/dev/null"
	}
	for unit, target := range links {
		name := filepath.Join(root, "etc/systemd/system", unit)
		if err := os.RemoveAll(name); err != nil {
			return err
		}
		if err := os.Symlink(target, name); err != nil {
			return err
		}
	}
	return nil
}

// overlay writes the files of an embedded folder over a file tree. Scripts become executable.
func overlay(files fs.FS, folder, root string) error {
	return fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(root, strings.TrimPrefix(name, folder))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		return replace(target, data, mode)
	})
}

// replace writes a file anew, so that what its name was linked to stays as it is.
func replace(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	return os.WriteFile(name, data, mode)
}

// makeKeys makes the keys by which the machine and its user know each other.
func makeKeys(ctx context.Context, image Image, root string) error {
	const hostKey = "/etc/dropbear/host_key"
	if err := os.MkdirAll(filepath.Join(root, "etc/dropbear"), 0o755); err != nil {
		return err
	}
	out, err := inRoot(ctx, root, "", "dropbearkey", "-t", "ed25519", "-f", hostKey)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "ssh-ed25519 ") {
			if err := os.WriteFile(image.hostKey(), []byte(line), 0o644); err != nil {
				return err
			}
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	if err := os.WriteFile(image.userKey(), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	sshKey, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	authorized := filepath.Join(root, "root/.ssh/authorized_keys")
	if err := replace(authorized, ssh.MarshalAuthorizedKey(sshKey), 0o600); err != nil {
		return err
	}
	return os.Chmod(filepath.Dir(authorized), 0o700)
}

func imageKey(nvsim bool) (string, error) {
	parts := [][]byte{[]byte(baseKey()), []byte(diskSize), []byte(imageFormat)}
	folders := map[string]embed.FS{"guest": guestFiles}
	if nvsim {
		folders["nvsim"] = nvsimFiles
	}
	for _, folder := range []string{"guest", "nvsim"} {
		files, ok := folders[folder]
		if !ok {
			continue
		}
		err := fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(files, name)
			parts = append(parts, []byte(name), data)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return key(parts...), nil
}

// key is a hash in which no two lists of parts are the same.
func key(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
