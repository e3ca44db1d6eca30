package main

import (
	"fmt"
	"time"
)

// patience is how long a flag says to wait; never below zero.
type patience time.Duration

func (p *patience) UnmarshalText(text []byte) error {
	const next = "write a time such as 10s or 1m30s"
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return usageError(fmt.Sprintf("%q is not a time", text), next)
	}
	if d < 0 {
		return usageError(fmt.Sprintf("%v is below zero", d), next)
	}
	*p = patience(d)
	return nil
}
