// Package closest guesses which of the names that exist was meant by one that does not.
package closest

import (
	"slices"
	"strings"
)

// Names returns up to most of the candidates that name was probably meant to be, the
// nearest first and equally near ones in their order: those that differ from it in a
// quarter of its letters, but at least in two, and those that it is a part of. Capitals
// and small letters are the same.
func Names(name string, candidates []string, most int) []string {
	type guess struct {
		name  string
		edits int
	}
	meant := strings.ToLower(name)
	var guesses []guess
	for _, candidate := range candidates {
		lower := strings.ToLower(candidate)
		n := edits(meant, lower)
		if len(meant) > 2 && strings.Contains(lower, meant) {
			n = min(n, 1) // "M60-8Q" for "GRID M60-8Q"
		}
		if n <= max(2, len(meant)/4) {
			guesses = append(guesses, guess{candidate, n})
		}
	}
	slices.SortStableFunc(guesses, func(a, b guess) int { return a.edits - b.edits })
	var names []string
	for _, g := range guesses[:min(most, len(guesses))] {
		names = append(names, g.name)
	}
	return names
}

// edits is how many letters must be changed, added or taken away to make b out of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
