package mdev

// Uevent is one message of the kernel about a device.
type Uevent struct {
	Action string            // "add", "remove", "bind", "unbind", "change"
	Path   string            // below /sys: "/devices/virtual/mtty/mtty/<uuid>"
	Env    map[string]string // SUBSYSTEM, MDEV_STATE, DRIVER…
	Lost   bool              // events before this one were lost; the rest may be empty
	Err    error             // the source has failed, and this is its last event
}
