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

// parseDefinition reads mdevctl's JSON: {"mdev_type": "nvidia-22", "start":
// "auto", "attrs": [{"name": "value"}]}. It returns also the names of the
// fields in their order.
func parseDefinition(data []byte) (Definition, []string, error) {
	def := Definition{Start: StartManual, Params: []Param{}}
	fields, err := parseObject(data)
	if err != nil {
		return Definition{}, nil, err
	}
	var order []string
	for _, field := range fields {
		if slices.Contains(order, field.Name) {
			return Definition{}, nil, fmt.Errorf("field %q is there twice", field.Name)
		}
		order = append(order, field.Name)
		value := []byte(field.Value)
		switch field.Name {
		case fieldType:
			err = json.Unmarshal(value, &def.Type)
		case fieldStart:
			err = json.Unmarshal(value, &def.Start)
		case fieldAttrs:
			def.Params, err = parseAttrs(value)
		default:
			def.Extra = append(def.Extra, field)
		}
		if err != nil {
			return Definition{}, nil, fmt.Errorf("field %q: %w", field.Name, err)
		}
	}
	if def.Type == "" {
		return Definition{}, nil, errors.New(`field "mdev_type" is missing`)
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
		for _, field := range fields {
			var value string
			if err := json.Unmarshal([]byte(field.Value), &value); err != nil {
				return nil, fmt.Errorf("attribute %q: %w", field.Name, err)
			}
			params = append(params, Param{Name: field.Name, Value: value})
		}
	}
	return params, nil
}

// parseObject reads a JSON object's fields in their order, which package json
// does not keep.
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
		fields = append(fields, Field{Name: name, Value: string(value)})
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
