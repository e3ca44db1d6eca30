package vgpukit

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pages are the texts for people, by file, without what is quoted in them.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	read := func(name string) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		texts[filepath.ToSlash(name)] = fenced.ReplaceAllString(string(text), "")
	}
	read("README.md")
	read("CONTRIBUTING.md")
	require.NoError(t, filepath.WalkDir("docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(name) == ".md" {
			read(name)
		}
		return err
	}))
	return texts
}

var (
	fenced   = regexp.MustCompile("(?ms)^```.*?^```")
	quoted   = regexp.MustCompile("`[^`\n]*`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headline = regexp.MustCompile(`(?m)^#+ (.*)$`)
	file     = regexp.MustCompile("`([\\w.-]+(?:/[\\w.-]+)+/?|[\\w-]+\\.go)`")
)

// anchors are the fragments by which a page's headings are linked, as GitHub makes them.
func anchors(text string) []string {
	var names []string
	for _, heading := range headline.FindAllStringSubmatch(text, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(heading[1]))
		names = append(names, name)
	}
	return names
}

// TestDocsLinks: each link of a page leads to a file that is there, and to one of its
// headings.
func TestDocsLinks(t *testing.T) {
	texts := pages(t)
	links := 0
	for page, text := range texts {
		for _, found := range link.FindAllStringSubmatch(quoted.ReplaceAllString(text, ""), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			links++
			name, fragment, _ := strings.Cut(found[1], "#")
			target := page
			if name != "" {
				target = path.Join(path.Dir(page), name)
			}
			_, err := os.Stat(target)
			assert.NoError(t, err, "%s links to %s", page, found[1])
			if fragment != "" {
				assert.Contains(t, anchors(texts[target]), fragment, "%s links to %s", page, found[1])
			}
		}
	}
	assert.Positive(t, links)
}

// TestDocsPaths: each Go file and each directory that docs/architecture.md names is
// there.
func TestDocsPaths(t *testing.T) {
	named := file.FindAllStringSubmatch(pages(t)["docs/architecture.md"], -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		top, _, _ := strings.Cut(name[1], "/")
		if _, err := os.Stat(top); err != nil && path.Ext(name[1]) != ".go" {
			continue // of the state directory, or of the host
		}
		_, err := os.Stat(name[1])
		assert.NoError(t, err)
	}
}

// TestDecisionsListed: the list of decisions has each of them.
func TestDecisionsListed(t *testing.T) {
	listed := pages(t)["docs/adr/README.md"]
	decisions, err := filepath.Glob("docs/adr/0*.md")
	require.NoError(t, err)
	require.NotEmpty(t, decisions)
	for _, decision := range decisions {
		assert.Contains(t, listed, "("+filepath.Base(decision)+")")
	}
}
