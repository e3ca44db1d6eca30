package libvirtrpc

import (
	"encoding/binary"
	"math"
	"reflect"
)

// Unmarshal decodes what [Marshal] encodes into what v points to. Errors match
// [ErrMalformed]; bytes that are left over are one.
func Unmarshal(data []byte, v any) error {
	d := decoder{data}
	if v != nil {
		if err := d.value(reflect.ValueOf(v).Elem()); err != nil {
			return err
		}
	}
	if len(d.rest) > 0 {
		return malformed("%d bytes too many", len(d.rest))
	}
	return nil
}

type decoder struct{ rest []byte }

func (d *decoder) bytes(n int) ([]byte, error) {
	if n > len(d.rest) {
		return nil, malformed("it ends %d bytes too early", n-len(d.rest))
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

func (d *decoder) uint32() (uint32, error) {
	b, err := d.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (d *decoder) uint64() (uint64, error) {
	b, err := d.bytes(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

func (d *decoder) opaque(n int) ([]byte, error) {
	b, err := d.bytes(n)
	if err != nil {
		return nil, err
	}
	_, err = d.bytes(padding(n))
	return b, err
}

// length reads the length of a string or an opaque of at most limit bytes.
func (d *decoder) length(limit int) (int, error) {
	n, err := d.uint32()
	if err != nil {
		return 0, err
	}
	if n > uint32(limit) {
		return 0, malformed("%d is more than %d", n, limit)
	}
	return int(n), nil
}

func (d *decoder) string() (string, error) {
	n, err := d.length(maxString)
	if err != nil {
		return "", err
	}
	b, err := d.opaque(n)
	return string(b), err
}

func (d *decoder) value(v reflect.Value) error {
	if c, ok := v.Addr().Interface().(coder); ok {
		return c.decode(d)
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return d.small(v)
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		return d.large(v)
	case reflect.String:
		s, err := d.string()
		v.SetString(s)
		return err
	case reflect.Pointer:
		return d.optional(v)
	case reflect.Slice:
		return d.list(v)
	case reflect.Array:
		return d.array(v)
	case reflect.Struct:
		for i := range v.NumField() {
			if err := d.value(v.Field(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return malformed("%v cannot be decoded", v.Type())
}

// small reads what has four bytes; what does not fit the type is cut as C does.
func (d *decoder) small(v reflect.Value) error {
	n, err := d.uint32()
	switch {
	case err != nil:
		return err
	case v.Kind() == reflect.Bool:
		v.SetBool(n != 0)
	case v.CanInt():
		v.SetInt(int64(int32(n)))
	default:
		v.SetUint(uint64(n))
	}
	return nil
}

func (d *decoder) large(v reflect.Value) error {
	n, err := d.uint64()
	switch {
	case err != nil:
		return err
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(n)
	default:
		v.SetFloat(math.Float64frombits(n))
	}
	return nil
}

func (d *decoder) optional(v reflect.Value) error {
	n, err := d.uint32()
	switch {
	case err != nil:
		return err
	case n == 0:
		v.SetZero()
		return nil
	case n > 1:
		return malformed("an optional value is neither there nor not: %d", n)
	}
	v.Set(reflect.New(v.Type().Elem()))
	return d.value(v.Elem())
}

func (d *decoder) list(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		n, err := d.length(maxOpaque)
		if err != nil {
			return err
		}
		b, err := d.opaque(n)
		v.SetBytes(append([]byte{}, b...))
		return err
	}
	// An element has four bytes at least: so no more is reserved than was sent.
	n, err := d.length(min(maxList, len(d.rest)/4))
	if err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	return d.elements(v)
}

func (d *decoder) array(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b, err := d.opaque(v.Len())
		reflect.Copy(v, reflect.ValueOf(b))
		return err
	}
	return d.elements(v)
}

func (d *decoder) elements(v reflect.Value) error {
	for i := range v.Len() {
		if err := d.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}
