package vgpu

import (
	"encoding/json"
	"errors"
	"time"
)

// Durations travel as text ("1m30s"), not as Go's numbers: each type here shadows the
// fields that need it.

// duration is one as text. Numbers are nanoseconds, as the journal once had them.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// IsZero leaves out what is not set.
func (d *duration) IsZero() bool { return d == nil || *d == 0 }

func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return json.Unmarshal(data, (*time.Duration)(d))
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

type plainStartOptions StartOptions

type startOptionsJSON struct {
	*plainStartOptions
	Timeout *duration `json:"timeout,omitzero"`
}

func (o *StartOptions) wire() startOptionsJSON {
	return startOptionsJSON{(*plainStartOptions)(o), (*duration)(&o.Timeout)}
}

// MarshalJSON writes durations as text.
func (o StartOptions) MarshalJSON() ([]byte, error) { return json.Marshal(o.wire()) }

// UnmarshalJSON reads durations as text.
func (o *StartOptions) UnmarshalJSON(data []byte) error {
	wire := o.wire()
	return json.Unmarshal(data, &wire)
}

type plainStopOptions StopOptions

type stopOptionsJSON struct {
	*plainStopOptions
	GuestTimeout     *duration `json:"guest_timeout,omitzero"`
	TerminateTimeout *duration `json:"terminate_timeout,omitzero"`
	// As the journal once had them: a negative time meant that the guest is not asked.
	OldGuest     duration `json:"guest,omitzero"`
	OldTerminate duration `json:"terminate,omitzero"`
}

func (o *StopOptions) wire() stopOptionsJSON {
	return stopOptionsJSON{
		plainStopOptions: (*plainStopOptions)(o),
		GuestTimeout:     (*duration)(&o.GuestTimeout), TerminateTimeout: (*duration)(&o.TerminateTimeout),
	}
}

// MarshalJSON writes durations as text.
func (o StopOptions) MarshalJSON() ([]byte, error) { return json.Marshal(o.wire()) }

// UnmarshalJSON reads durations as text.
func (o *StopOptions) UnmarshalJSON(data []byte) error {
	wire := o.wire()
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	switch {
	case wire.OldGuest < 0:
		o.SkipGuest = true
	case wire.OldGuest > 0:
		o.GuestTimeout = time.Duration(wire.OldGuest)
	}
	if wire.OldTerminate > 0 {
		o.TerminateTimeout = time.Duration(wire.OldTerminate)
	}
	return nil
}

type plainTeardownOptions TeardownOptions

// UnmarshalJSON reads also what the journal once had.
func (o *TeardownOptions) UnmarshalJSON(data []byte) error {
	var old struct {
		Undefine struct{ ManagedSave, KeepNVRAM, SnapshotsMetadata, CheckpointsMetadata bool } `json:"undefine"`
	}
	if err := errors.Join(json.Unmarshal(data, (*plainTeardownOptions)(o)), json.Unmarshal(data, &old)); err != nil {
		return err
	}
	u := &o.Undefine
	u.ManagedSave, u.KeepNVRAM = u.ManagedSave || old.Undefine.ManagedSave, u.KeepNVRAM || old.Undefine.KeepNVRAM
	u.SnapshotsMetadata = u.SnapshotsMetadata || old.Undefine.SnapshotsMetadata
	u.CheckpointsMetadata = u.CheckpointsMetadata || old.Undefine.CheckpointsMetadata
	return nil
}

type plainOperation Operation

type operationJSON struct {
	*plainOperation
	Took *duration `json:"took,omitzero"`
}

func (o *Operation) wire() operationJSON {
	return operationJSON{(*plainOperation)(o), (*duration)(&o.Took)}
}

// MarshalJSON writes durations as text.
func (o Operation) MarshalJSON() ([]byte, error) { return json.Marshal(o.wire()) }

// UnmarshalJSON reads durations as text.
func (o *Operation) UnmarshalJSON(data []byte) error {
	wire := o.wire()
	return json.Unmarshal(data, &wire)
}

type plainStep Step

type stepJSON struct {
	*plainStep
	Took *duration `json:"took,omitzero"`
}

func (s *Step) wire() stepJSON { return stepJSON{(*plainStep)(s), (*duration)(&s.Took)} }

// MarshalJSON writes durations as text.
func (s Step) MarshalJSON() ([]byte, error) { return json.Marshal(s.wire()) }

// UnmarshalJSON reads durations as text.
func (s *Step) UnmarshalJSON(data []byte) error {
	wire := s.wire()
	return json.Unmarshal(data, &wire)
}
