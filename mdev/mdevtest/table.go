package mdevtest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

//go:embed boards.txt
var boardsText string

// table is boards.txt, by name.
var table = sync.OnceValue(func() map[string]*model {
	models, err := parseTable(boardsText)
	if err != nil {
		panic("mdevtest: boards.txt: " + err.Error())
	}
	return models
})

// parseTable reads a table of NVIDIA's boards; its head says how one is written.
func parseTable(text string) (map[string]*model, error) {
	models := map[string]*model{}
	var m *model
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), "#")
		var err error
		switch words := strings.Fields(line); {
		case len(words) == 0:
		case line[0] != '\t':
			if m, err = parseHead(line); err == nil && models[m.name] != nil {
				err = fmt.Errorf("%s is there twice", m.name)
			}
			if err == nil {
				models[m.name] = m
			}
		case m == nil:
			err = fmt.Errorf("it belongs to no board")
		case words[0] == "mig":
			err = m.parseKinds(words[1:])
		case strings.HasSuffix(words[0], ":"):
			err = m.parseRows(words)
		default:
			err = m.parseFacts(words)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return models, nil
}

// parseHead reads "a40: NVIDIA A40".
func parseHead(line string) (*model, error) {
	name, names, ok := strings.Cut(line, ": ")
	if !ok || name == "" {
		return nil, fmt.Errorf("%q is not a name and what its types are called", line)
	}
	m := &model{
		name: name, rule: ruleNVIDIA, driver: "nvidia", mdev: "nvidia-vgpu-vfio", api: "vfio-pci",
		gpus: 1, bus: 0x05, vendorID: "0x10de", subsystem: "0x0000", class: "0x030200",
		series: series{board: names, views: &sync.Map{}},
	}
	if brand, board, ok := strings.Cut(names, " "); ok {
		m.series.brand, m.series.board = brand, board
	}
	return m, nil
}

// parseFacts reads "pci=2235 memory=48 vfs=32".
func (m *model) parseFacts(words []string) error {
	s := &m.series
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "pci":
			device, subsystem, ok := strings.Cut(value, "/")
			m.deviceID = "0x" + device
			if ok {
				m.subsystem = "0x" + subsystem
			}
		case "memory":
			s.memory, err = strconv.Atoi(value)
			s.memory <<= 10
		case "gpus":
			m.gpus, err = strconv.Atoi(value)
		case "vfs":
			s.totalVFs, err = strconv.Atoi(value)
			m.bus = 0x41
		case "driver":
			s.release = value
			_, err = major(value)
		case "nvidia":
			s.renamed, err = strconv.Atoi(value)
		case "vendor":
			s.vendor = true
		case "vga":
			m.class = "0x030000"
		case "5k":
			s.low = true
		default:
			err = fmt.Errorf("no such fact")
		}
		if err != nil {
			return fmt.Errorf("%s: %q: %w", m.name, word, err)
		}
	}
	return nil
}

// parseKinds reads "1g.5gb*7 1g.5gb+me".
func (m *model) parseKinds(words []string) error {
	for _, word := range words {
		name, most, several := strings.Cut(word, "*")
		k := instanceKind{most: 1}
		var ok bool
		if k.profile, ok = nvidia.ParseProfile(name); !ok {
			return fmt.Errorf("%s: %q is not a GPU instance", m.name, name)
		}
		if several {
			var err error
			if k.most, err = strconv.Atoi(most); err != nil {
				return fmt.Errorf("%s: %q: %w", m.name, word, err)
			}
		}
		m.series.kinds = append(m.series.kinds, k)
	}
	return nil
}

// parseRows reads "581: 4C 8C(16) <535".
func (m *model) parseRows(words []string) error {
	id, err := strconv.Atoi(strings.TrimSuffix(words[0], ":"))
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	before, since := 0, 0
	names := words[1:]
	switch last := names[len(names)-1]; {
	case strings.HasPrefix(last, "<"):
		before, err = strconv.Atoi(last[1:])
		names = names[:len(names)-1]
	case strings.HasPrefix(last, ">="):
		since, err = strconv.Atoi(last[2:])
		names = names[:len(names)-1]
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	for i, word := range names {
		r := row{id: id + i, before: before, since: since}
		name, most, limited := strings.Cut(word, "(")
		if limited {
			if r.most, err = strconv.Atoi(strings.TrimSuffix(most, ")")); err != nil {
				return fmt.Errorf("%s: %q: %w", m.name, word, err)
			}
		}
		var ok bool
		if r.name, ok = nvidia.Parse(name); !ok || r.name.Board != "" {
			return fmt.Errorf("%s: %q is not a type", m.name, name)
		}
		m.series.rows = append(m.series.rows, r)
	}
	return nil
}
