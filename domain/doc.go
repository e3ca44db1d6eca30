// Package domain edits libvirt domain documents without losing a byte.
package domain
