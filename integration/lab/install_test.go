package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeApt makes the host one whose only program is an apt-get that does as script says.
func fakeApt(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("FAKE", dir)
	return dir
}

var lacking = []need{{program: "no-such-program", pkg: "some-package"}, {program: "no-such-other", pkg: "other-package"}}

// What is missing is installed by root, the package lists fetched first if it takes that;
// others are told the command.
func TestInstall(t *testing.T) {
	dir := fakeApt(t, `echo "$@" >>$FAKE/log
case "$*" in
*update*) : >$FAKE/updated ;;
*install*) [ -e $FAKE/updated ] || exit 100
	for f in no-such-program no-such-other; do echo >$FAKE/$f; /bin/chmod +x $FAKE/$f; done ;;
esac
`)
	err := install(t.Context(), nil, lacking)
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "sudo apt-get install --no-install-recommends some-package other-package") {
			t.Fatalf("error %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "install --no-install-recommends some-package other-package"); n != 2 {
		t.Errorf("apt-get was called with\n%s", log)
	}
}

func TestInstallFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Setenv("PATH", t.TempDir())
		if err := install(t.Context(), nil, lacking); err == nil || !strings.Contains(err.Error(), "no apt-get") {
			t.Fatalf("error %v", err)
		}
		return
	}
	fakeApt(t, "echo 'no such mirror'; exit 100\n")
	if err := install(t.Context(), nil, lacking); err == nil || !strings.Contains(err.Error(), "no such mirror") {
		t.Errorf("a failed installation: %v", err)
	}
	fakeApt(t, "exit 0\n")
	if err := install(t.Context(), nil, lacking); err == nil || !strings.Contains(err.Error(), "some-package") {
		t.Errorf("an installation without effect: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := install(t.Context(), nil, lacking); err == nil || !strings.Contains(err.Error(), "no apt-get") {
		t.Errorf("no apt-get: %v", err)
	}
}
