package vgpu

import (
	"encoding/json"
	"time"
)

// Durations travel as text ("1m30s"), not as Go's numbers: each type here shadows the
// fields that need it.

// duration is one as text.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// IsZero leaves out what is not set.
func (d *duration) IsZero() bool { return d == nil || *d == 0 }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
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
	return json.Unmarshal(data, &wire)
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
