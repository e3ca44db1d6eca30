package libvirtrpc

import "math"

// The types of a [Param]'s value (virTypedParameterType).
const (
	paramInt = 1 + iota
	paramUint
	paramLong
	paramUlong
	paramDouble
	paramBool
	paramString
)

// Param is a named value, an int32, uint32, int64, uint64, float64, bool or string.
type Param struct {
	Field string
	Value any
}

func (p *Param) encode(e *encoder) error {
	if err := e.string(p.Field); err != nil {
		return err
	}
	switch v := p.Value.(type) {
	case int32:
		e.uint32(paramInt)
		e.uint32(uint32(v))
	case uint32:
		e.uint32(paramUint)
		e.uint32(v)
	case int64:
		e.uint32(paramLong)
		e.uint64(uint64(v))
	case uint64:
		e.uint32(paramUlong)
		e.uint64(v)
	case float64:
		e.uint32(paramDouble)
		e.uint64(math.Float64bits(v))
	case bool:
		e.uint32(paramBool)
		e.uint32(uint32(bit(v)))
	case string:
		e.uint32(paramString)
		return e.string(v)
	default:
		return malformed("a parameter cannot be a %T", v)
	}
	return nil
}

func (p *Param) decode(d *decoder) (err error) {
	if p.Field, err = d.string(); err != nil {
		return err
	}
	kind, err := d.uint32()
	if err != nil {
		return err
	}
	switch kind {
	case paramInt, paramUint, paramBool:
		var n uint32
		n, err = d.uint32()
		p.Value = map[uint32]any{paramInt: int32(n), paramUint: n, paramBool: n != 0}[kind]
	case paramLong, paramUlong, paramDouble:
		var n uint64
		n, err = d.uint64()
		p.Value = map[uint32]any{paramLong: int64(n), paramUlong: n, paramDouble: math.Float64frombits(n)}[kind]
	case paramString:
		p.Value, err = d.string()
	default:
		return malformed("a parameter of the unknown type %d", kind)
	}
	return err
}
