package parity

import (
	_ "embed"
	"strings"
)

// What libvirt 11.3 and QEMU 10.0 gave. TestHypervisorParity writes what it sees to
// parity.txt, which `lab run --pull` copies out.
//
//go:embed testdata/real.txt
var golden string

// Golden is what real libvirt and QEMU gave, by the row's name.
func Golden() map[string]string {
	rows := map[string]string{}
	for text := range strings.SplitSeq("\n"+golden, "\n# ") {
		if name, _, ok := strings.Cut(text, "\n"); ok {
			rows[name] = "# " + strings.TrimSpace(text) + "\n"
		}
	}
	return rows
}
