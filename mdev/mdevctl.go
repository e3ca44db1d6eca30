package mdev

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// The fields of mdevctl's JSON that are known.
const (
	fieldType  = "mdev_type"
	fieldStart = "start"
	fieldAttrs = "attrs"
)

// parseDefinition reads mdevctl's JSON, as mdevctl does: {"mdev_type": "nvidia-22",
// "start": "auto", "attrs": [{"name": "value"}]}, of which attrs may be left out, and any
// other start is manual. It returns also the names of the fields in their order.
func parseDefinition(data []byte) (Definition, []string, error) {
	def := Definition{Start: StartManual, Params: []Param{}}
	fields, err := parseObject(data)
	if err != nil {
		return Definition{}, nil, err
	}
	var order []string
	started := false
	for _, field := range fields {
		order = append(order, field.Name)
		value := []byte(field.Value)
		switch field.Name {
		case fieldType:
			err = json.Unmarshal(value, &def.Type)
		case fieldStart:
			started = field.Value != "null"
			if word, _ := jsonString(field.Value); word == string(StartAuto) {
				def.Start = StartAuto
			}
		case fieldAttrs:
			def.Params, err = parseAttrs(value)
		default:
			def.Extra = append(def.Extra, field)
		}
		if err != nil {
			return Definition{}, nil, fmt.Errorf("field %q: %w", field.Name, err)
		}
	}
	switch {
	case def.Type == "":
		return Definition{}, nil, errors.New(`field "mdev_type" is missing`)
	case !started:
		return Definition{}, nil, errors.New(`field "start" is missing`)
	}
	return def, order, nil
}

func parseAttrs(data []byte) ([]Param, error) {
	params := []Param{}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	for _, item := range list {
		fields, err := parseObject(item)
		if err != nil {
			return nil, err
		}
		if len(fields) != 1 {
			return nil, fmt.Errorf("an attribute has %d fields, not 1", len(fields))
		}
		value, ok := jsonString(fields[0].Value)
		if !ok {
			return nil, fmt.Errorf("attribute %q: its value is not a string", fields[0].Name)
		}
		params = append(params, Param{Name: fields[0].Name, Value: value})
	}
	return params, nil
}

// jsonString reads a string; null is none.
func jsonString(text string) (value string, ok bool) {
	var read *string
	if err := json.Unmarshal([]byte(text), &read); err != nil || read == nil {
		return "", false
	}
	return *read, true
}

// parseObject reads a JSON object's fields in their order, which package json
// does not keep. Of two of one name the last counts, in the place of the first.
func parseObject(data []byte) ([]Field, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil {
		return nil, err
	} else if token != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var fields []Field
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("not a JSON object")
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }); i >= 0 {
			fields[i].Value = string(value)
		} else {
			fields = append(fields, Field{Name: name, Value: string(value)})
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("there is more after the JSON object")
	}
	return fields, nil
}

// encode writes the definition as mdevctl does: two spaces a level, an object
// for each attribute. Known fields that are in order, and extra ones, come in
// that order; the rest follow.
func (d *Definition) encode(order []string) ([]byte, error) {
	start := d.Start
	if start == "" {
		start = StartManual
	}
	attrs := &bytes.Buffer{}
	attrs.WriteByte('[')
	for i, param := range d.Params {
		if i > 0 {
			attrs.WriteByte(',')
		}
		fmt.Fprintf(attrs, "{%s:%s}", quoteJSON(param.Name), quoteJSON(param.Value))
	}
	attrs.WriteByte(']')
	fields := append([]Field{
		{fieldType, quoteJSON(d.Type)},
		{fieldStart, quoteJSON(string(start))},
		{fieldAttrs, attrs.String()},
	}, d.Extra...)
	for i, field := range fields {
		if slices.ContainsFunc(fields[:i], func(other Field) bool { return other.Name == field.Name }) {
			return nil, fmt.Errorf("field %q is there twice", field.Name)
		}
		if !json.Valid([]byte(field.Value)) {
			return nil, fmt.Errorf("the value of field %q is not JSON", field.Name)
		}
	}
	rank := func(f Field) int {
		if i := slices.Index(order, f.Name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(fields, func(a, b Field) int { return rank(a) - rank(b) })
	var text bytes.Buffer
	text.WriteByte('{')
	for i, field := range fields {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(quoteJSON(field.Name) + ":" + field.Value)
	}
	text.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, text.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// quoteJSON leaves <, > and & as they are, unlike json.Marshal.
func quoteJSON(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return `""` // cannot be: a string always encodes
	}
	return string(bytes.TrimSpace(b.Bytes()))
}
