package vgputest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// TestServeNumbers: what is asked in numbers, some of it by older clients only, is
// answered in libvirt's units.
func TestServeNumbers(t *testing.T) {
	socket, _ := serveAt(t, newWorld(t))
	c := dial(t, socket, 0)
	var n rpc.Number
	c.must(rpc.ConnectGetMaxVcpus, rpc.OptionalText{}, &n)
	assert.EqualValues(t, hostCPUs, n.N)
	c.must(rpc.DomainGetMaxVcpus, rpc.DomainArgs{Dom: web}, &n)
	assert.EqualValues(t, 2, n.N)
	var large rpc.Large
	c.must(rpc.DomainGetMaxMemory, rpc.DomainArgs{Dom: web}, &large)
	assert.EqualValues(t, 512<<10, large.N)
	c.must(rpc.ConnectGetLibVersion, nil, &large)
	assert.EqualValues(t, 11_003_000, large.N)
}
