// Package fault is the grammar that the errors of all packages share: their kinds,
// the one line that they read as, and what [errors.Is] finds in them.
//
// An error is of exactly one kind, that of the outermost error which names one:
// the code that wraps an error may know better what it came to, and what lies beneath
// then keeps its errno, libvirt's code and the end of a context, but not its kind.
package fault
