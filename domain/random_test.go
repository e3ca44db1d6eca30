package domain

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// random returns the source of a property test, and how many rounds it takes: few, or
// VGPUKIT_OPERATIONS. VGPUKIT_SEED repeats a run.
func random(t *testing.T, few int) (r *rand.Rand, rounds int) {
	t.Helper()
	seed, rounds := rand.Uint64(), few
	for name, to := range map[string]any{"VGPUKIT_SEED": &seed, "VGPUKIT_OPERATIONS": &rounds} {
		if text := os.Getenv(name); text != "" {
			_, err := fmt.Sscan(text, to)
			require.NoError(t, err, name)
		}
	}
	t.Logf("VGPUKIT_SEED=%d VGPUKIT_OPERATIONS=%d", seed, rounds)
	return rand.New(rand.NewPCG(seed, 0)), rounds
}
