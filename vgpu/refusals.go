package vgpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// refusals are the parents that did not take a vGPU, with what each said.
type refusals []refusal

type refusal struct {
	by  candidate
	err error
}

// and are the refusals with more; of each parent the last counts.
func (r refusals) and(more refusals) refusals {
	kept := slices.DeleteFunc(slices.Clone(r), func(a refusal) bool {
		return slices.ContainsFunc(more, func(b refusal) bool { return a.by.Parent == b.by.Parent })
	})
	return append(kept, more...)
}

// error sums them up: those of one reason are told together.
func (r refusals) error() error {
	if len(r) == 0 {
		return &fault.Error{
			Kind: ErrNoCapacity, Meaning: "the parents that could take it have other vGPUs of this VM",
			Next: "free another parent, or ask for fewer vGPUs",
		}
	}
	var (
		reasons []string
		groups  = map[string]refusals{}
		causes  []string
	)
	for _, one := range r {
		reason := one.reason()
		if groups[reason] == nil {
			reasons = append(reasons, reason)
		}
		groups[reason] = append(groups[reason], one)
		var host *mdev.Error
		if errors.As(one.err, &host) && host.Cause != "" && !slices.Contains(causes, host.Cause) {
			causes = append(causes, host.Cause)
		}
	}
	if len(causes) > 2 {
		causes = []string{"none has room beside what it runs, or its driver is not ready"}
	}
	var told []string
	for _, reason := range reasons {
		told = append(told, groups[reason].text(reason))
	}
	return &fault.Error{
		Kind: ErrNoCapacity, Meaning: strings.Join(told, "; "), Cause: strings.Join(causes, "; "),
		Next: Hint(r[0].err), Err: silent{r[0].err},
	}
}

// text is refusals of one reason: "2 GPUs refused (EIO): 0000:05:00.0, 0000:06:00.0".
func (r refusals) text(reason string) string {
	noun, s := "GPU", "s"
	var parents []string
	for _, one := range r {
		if one.by.Parent != one.by.GPU {
			noun = "virtual function"
		}
		parents = append(parents, one.by.Parent)
	}
	if len(r) == 1 {
		s = ""
	}
	return fmt.Sprintf("%d %s%s %s: %s", len(r), noun, s, reason, fault.List(parents))
}

// itself tells that the driver of a parent refused, and not that another operation was
// quicker.
func (r refusal) itself() bool {
	return errors.Is(r.err, ErrRefused) || errors.Is(r.err, ErrNoCapacity)
}

// reason is what one parent said, in a word or two.
func (r refusal) reason() string {
	var errno syscall.Errno
	switch {
	case errors.As(r.err, &errno):
		return "refused (" + unix.ErrnoName(errno) + ")"
	case errors.Is(r.err, errNotAllowed):
		return "not allowed by policy any more"
	case errors.Is(r.err, ErrExists), errors.Is(r.err, ErrInUse):
		return "got another vGPU meanwhile"
	case errors.Is(r.err, ErrNoCapacity):
		return "had no room left"
	case errors.Is(r.err, ErrNotFound):
		return "went away meanwhile"
	}
	return "refused"
}

// silent is an error whose words have been said, and whose errno counts.
type silent struct{ err error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.err }
