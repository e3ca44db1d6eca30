package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What keeps programs from being confined is told before anything is fetched, with what to do; each
// line is what unshare says on such a host.
func TestWhyUnconfined(t *testing.T) {
	for said, want := range map[string]string{
		"unshare: cannot change root filesystem propagation: Invalid argument": "plain chroot",
		"unshare: mount /proc failed: No such file or directory":               "no directory /proc",
		"unshare: mount /proc failed: Operation not permitted":                 "a container keeps /proc",
		"unshare: no line matching user \"nobody\" in /etc/subuid":             "usermod --add-subuids",
		"unshare: unshare failed: Operation not permitted":                     "CAP_SYS_ADMIN",
		"unshare: unshare failed: No space left on device":                     "user.max_user_namespaces",
		"unshare: cannot open /proc/self/uid_map: No such file or directory":   "mount -t proc proc /proc",
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\necho '" + said + "' >&2; exit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "unshare"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		err := tryConfined(t.Context())
		if err == nil || !strings.Contains(err.Error(), said) || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: %v", said, err)
		}
		if strings.Contains(err.Error(), "mirror") {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// What cannot be fetched is told by what was said of it, and not guessed.
func TestWhyNotFetched(t *testing.T) {
	for said, want := range map[string]string{
		"E: The repository 'http://d.d.o trixie-updates InRelease' is not signed.\nE: Write error - write (28: No space left on device)": "disk of the lab's cache is full",
		"W: Failed to fetch http://deb.debian.org/x  Temporary failure resolving 'deb.d.o'":                                              "names cannot be looked up",
		"Err:1 http://deb.debian.org trixie InRelease  Could not connect to deb.debian.org":                                              "no network",
		"E: The repository 'http://deb.debian.org/debian trixie InRelease' is not signed.":                                               "host's clock",
		"E: Failed to fetch http://deb.debian.org/pool/x.deb  404  Not Found [IP: 1.2.3.4]":                                              "a Debian mirror does not have",
		"E: cannot create devices here: /cache is mounted with noexec or nodev in this place":                                            "no programs or devices",
	} {
		if err := notFetched.explain(errors.New(said)); !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", said, err)
		}
	}
	odd := errors.New("dpkg: error processing package libc6")
	if err := notFetched.explain(odd); err != odd {
		t.Errorf("of what says nothing telling: %v", err)
	}
}
