package libvirtrpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// Marshal encodes a value, or what a pointer points to: structs field by field, with
// pointers in them as what may be absent, slices as lists, []byte and byte arrays as
// opaques, and a lone small integer or bool in four bytes. nil is nothing.
func Marshal(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	} else { // a copy that has an address, for what encodes itself
		value = reflect.New(value.Type()).Elem()
		value.Set(reflect.ValueOf(v))
	}
	var e encoder
	err := e.value(value)
	return e.buf, err
}

type encoder struct{ buf []byte }

func (e *encoder) uint32(v uint32) { e.buf = binary.BigEndian.AppendUint32(e.buf, v) }
func (e *encoder) uint64(v uint64) { e.buf = binary.BigEndian.AppendUint64(e.buf, v) }

func (e *encoder) opaque(b []byte) {
	e.buf = append(e.buf, b...)
	e.buf = append(e.buf, make([]byte, padding(len(b)))...)
}

func (e *encoder) string(s string) error {
	if len(s) > maxString {
		return fmt.Errorf("a string of %d bytes is longer than %d", len(s), maxString)
	}
	e.uint32(uint32(len(s)))
	e.opaque([]byte(s))
	return nil
}

func (e *encoder) value(v reflect.Value) error {
	if c, ok := v.Addr().Interface().(coder); ok {
		return c.encode(e)
	}
	switch v.Kind() {
	case reflect.Bool:
		e.uint32(uint32(bit(v.Bool())))
	case reflect.Int8, reflect.Int16, reflect.Int32:
		e.uint32(uint32(v.Int()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		e.uint32(uint32(v.Uint()))
	case reflect.Int64:
		e.uint64(uint64(v.Int()))
	case reflect.Uint64:
		e.uint64(v.Uint())
	case reflect.Float64:
		e.uint64(math.Float64bits(v.Float()))
	case reflect.String:
		return e.string(v.String())
	case reflect.Pointer:
		return e.optional(v)
	case reflect.Slice:
		return e.list(v)
	case reflect.Array:
		return e.array(v)
	case reflect.Struct:
		return e.structure(v)
	default:
		return fmt.Errorf("%v cannot be encoded", v.Type())
	}
	return nil
}

func (e *encoder) optional(v reflect.Value) error {
	if v.IsNil() {
		e.uint32(0)
		return nil
	}
	e.uint32(1)
	return e.value(v.Elem())
}

func (e *encoder) list(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if v.Len() > maxOpaque {
			return fmt.Errorf("an opaque of %d bytes is longer than %d", v.Len(), maxOpaque)
		}
		e.uint32(uint32(v.Len()))
		e.opaque(v.Bytes())
		return nil
	}
	if v.Len() > maxList {
		return fmt.Errorf("a list of %d is longer than %d", v.Len(), maxList)
	}
	e.uint32(uint32(v.Len()))
	return e.elements(v)
}

func (e *encoder) array(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.opaque(v.Bytes())
		return nil
	}
	return e.elements(v)
}

func (e *encoder) elements(v reflect.Value) error {
	for i := range v.Len() {
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) structure(v reflect.Value) error {
	for i := range v.NumField() {
		if err := e.value(v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
