package statedir

import (
	"context"
	"errors"
)

// bootEntry is of which boot the marks are. It is written before those of another are
// removed and once more when they are, so that what interrupts that has it done again.
type bootEntry struct {
	Boot string `json:"boot"`
	Done bool   `json:"marks_removed"`
}

// EnterBoot removes the [Marks] in the places that are named if they are known to be of
// another boot than the present one, those that a loss of power has damaged too. It is to
// succeed before any are taken in this boot.
func (d *Dir) EnterBoot(ctx context.Context, boot string, places ...string) error {
	boots := In(d, "", func(bootEntry) string { return "boot" })
	now := bootEntry{Boot: boot, Done: true}
	if seen, _, err := boots.Read("boot"); err == nil && seen == now {
		return nil
	}
	unlock, err := d.Lock(ctx, "state", "boot", "remove the marks of another boot")
	if err != nil {
		return err
	}
	defer unlock()
	seen, known, err := boots.Read("boot")
	switch {
	case errors.As(err, new(*Damaged)), err == nil && !known:
		return boots.Write(now) // they may be of this one
	case err != nil || seen == now:
		return err
	}
	if err := boots.Write(bootEntry{Boot: boot}); err != nil {
		return err
	}
	if err := d.change(func() error { return d.void(places...) }); err != nil {
		return err
	}
	return boots.Write(now)
}
