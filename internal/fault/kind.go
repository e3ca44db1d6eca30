package fault

import (
	"context"
	"errors"
)

// Kind is one kind of failure, which a program can act on. The packages export the
// kinds that they use as their sentinels; the same kind is the same value in all.
type Kind struct {
	name string // in JSON
	text string // in an error that has nothing better to say
}

// The kinds.
var (
	Invalid     = &Kind{"invalid", "invalid request"}
	NotFound    = &Kind{"not_found", "not found"}
	Exists      = &Kind{"exists", "already exists"}
	InUse       = &Kind{"in_use", "in use"}
	NoCapacity  = &Kind{"no_capacity", "no capacity"}
	Busy        = &Kind{"busy", "busy"}
	State       = &Kind{"state", "not possible now"}
	Permission  = &Kind{"permission", "no permission"}
	Unsupported = &Kind{"unsupported", "not supported here"}
	Refused     = &Kind{"refused", "refused by the driver"}
	Unavailable = &Kind{"unavailable", "the host is not as required"}
)

var kinds = []*Kind{Invalid, NotFound, Exists, InUse, NoCapacity, Busy, State, Permission, Unsupported, Refused, Unavailable}

// Error is the kind in words.
func (k *Kind) Error() string { return k.text }

// ends are the kinds of an error that nothing explains but the end of a context.
var ends = map[string]error{"timeout": context.DeadlineExceeded, "canceled": context.Canceled}

// KindOf returns an error's kind: one of the kinds above, or [context.Canceled] or
// [context.DeadlineExceeded] where nothing but the end of a context explains it, or
// nil. Of several in an error that is not the library's it is the first.
func KindOf(err error) error {
	if k := find(err); k != nil {
		return k
	}
	return EndOf(err)
}

// find is the first kind in an error's tree.
func find(err error) *Kind {
	switch err := err.(type) {
	case *Kind:
		return err
	case interface{ Unwrap() error }:
		return find(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, beneath := range err.Unwrap() {
			if k := find(beneath); k != nil {
				return k
			}
		}
	}
	return nil
}

// EndOf returns the error of a context which ended, if there is one in err.
func EndOf(err error) error {
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return end
		}
	}
	return nil
}

// Name is how a kind that [KindOf] returned is written in JSON; "" for nil.
func Name(kind error) string {
	if k, ok := kind.(*Kind); ok {
		return k.name
	}
	for name, end := range ends {
		if kind == end {
			return name
		}
	}
	return ""
}

// Named is the kind of that name; nil if there is none.
func Named(name string) error {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return ends[name]
}

// Unwrap is what an error of a kind unwraps to: the kind, and what lies beneath
// without the kinds in it. Either may be nil.
func Unwrap(kind, beneath error) []error {
	var errs []error
	if kind != nil {
		errs = append(errs, kind)
		if beneath != nil {
			beneath = kindless{beneath}
		}
	}
	if beneath != nil {
		errs = append(errs, beneath)
	}
	return errs
}

// kindless hides the kinds of an error, and nothing else. It has no Unwrap, since
// [errors.Is] would find them that way.
type kindless struct{ err error }

func (k kindless) Error() string { return k.err.Error() }

func (k kindless) Is(target error) bool {
	_, kind := target.(*Kind)
	return !kind && errors.Is(k.err, target)
}

func (k kindless) As(target any) bool { return errors.As(k.err, target) }
