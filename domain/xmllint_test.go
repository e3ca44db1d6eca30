package domain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lint returns what xmllint says of each document, warnings aside.
func lint(t *testing.T, xmllint string, documents []string) []string {
	t.Helper()
	complaints := make([]string, len(documents))
	// A namespace name need not be a URI: XML Namespaces, errata NE08.
	line := regexp.MustCompile(`(?m)^(\d+)\.xml:\d+: .*error : (.*)$`)
	for _, m := range line.FindAllStringSubmatch(runXMLLint(t, xmllint, documents, "--noout", "--nonet"), -1) {
		if !strings.HasSuffix(m[2], "is not a valid URI") {
			complaints[number(t, m[1])] = m[2]
		}
	}
	return complaints
}

// validate tells which documents are valid by a RelaxNG schema.
func validate(t *testing.T, schema string, documents []string) []bool {
	t.Helper()
	valid := make([]bool, len(documents))
	line := regexp.MustCompile(`(?m)^(\d+)\.xml validates$`)
	for _, m := range line.FindAllStringSubmatch(runXMLLint(t, "xmllint", documents, "--noout", "--nonet", "--relaxng", schema), -1) {
		valid[number(t, m[1])] = true
	}
	return valid
}

// runXMLLint gives it the documents as 0.xml, 1.xml… and returns all it says.
func runXMLLint(t *testing.T, program string, documents []string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	var all strings.Builder
	for from := 0; from < len(documents); from += 500 {
		args := args[:len(args):len(args)]
		for i := from; i < min(from+500, len(documents)); i++ {
			name := fmt.Sprintf("%d.xml", i)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(documents[i]), 0o600))
			args = append(args, name)
		}
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		all.Write(out)
	}
	return all.String()
}

func number(t *testing.T, s string) int {
	t.Helper()
	var i int
	_, err := fmt.Sscan(s, &i)
	require.NoError(t, err)
	return i
}
