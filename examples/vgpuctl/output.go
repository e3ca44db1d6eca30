package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// answer is stdout: what it does not take is told.
type answer struct{ io.Writer }

func (a answer) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		err = &ownError{"the answer could not be printed: " + err.Error(), "repeat the command with an output that takes the answer", err}
	}
	return n, err
}

// json writes a value for scripts.
func (g *globals) json(v any) error {
	enc := encoder(g.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// encoder writes JSON as it is, without escapes for HTML.
func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// table writes rows for people, aligned; the first one is the heading.
func table(to io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = cell; cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), " \t"))
	}
	return w.Flush()
}

// tables writes tables with an empty line between; those that have only a heading
// are left out.
func (g *globals) tables(list ...[][]string) error {
	between := ""
	for _, rows := range list {
		if len(rows) == 1 {
			continue
		}
		if _, err := fmt.Fprint(g.stdout, between); err != nil {
			return err
		}
		if err := table(g.stdout, rows); err != nil {
			return err
		}
		between = "\n"
	}
	return nil
}

// line is say for what is one of many: JSON is a line too.
func (g *globals) line(v any, format string, args ...any) error {
	if g.Output == "json" {
		return encoder(g.stdout).Encode(v)
	}
	return g.say(v, format, args...)
}

// say writes a value as JSON, or a line of text for people.
func (g *globals) say(v any, format string, args ...any) error {
	if g.Output == "json" {
		return g.json(v)
	}
	_, err := fmt.Fprintf(g.stdout, format+"\n", args...)
	return err
}
