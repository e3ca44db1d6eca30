package domain

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWithUUID: a UUID is put where libvirt writes it, and nothing else changes.
func TestWithUUID(t *testing.T) {
	id := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("vm"))
	for _, c := range []struct{ before, want string }{
		{"<domain>\n  <name>vm</name>\n  <memory>1</memory>\n</domain>", "<domain>\n  <name>vm</name>\n  <uuid>ID</uuid>\n  <memory>1</memory>\n</domain>"},
		{"<domain><name>vm</name></domain>", "<domain><name>vm</name><uuid>ID</uuid></domain>"},
		{"<domain><uuid/><name>vm</name></domain>", "<domain><uuid>ID</uuid><name>vm</name></domain>"},
		{"<domain><name>vm</name><uuid>ID</uuid></domain>", "<domain><name>vm</name><uuid>ID</uuid></domain>"},
	} {
		d, err := Parse([]byte(strings.ReplaceAll(c.before, "ID", id.String())))
		require.NoError(t, err)
		got, err := d.WithUUID(id)
		require.NoError(t, err)
		assert.Equal(t, strings.ReplaceAll(c.want, "ID", id.String()), got.String())
	}
}
