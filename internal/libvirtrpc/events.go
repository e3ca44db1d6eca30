package libvirtrpc

// EventID is a kind of event that one can ask for (virDomainEventID).
type EventID int32

// The kinds of events that are sent here.
const (
	EventIDLifecycle          EventID = 0
	EventIDDeviceRemoved      EventID = 15
	EventIDDeviceAdded        EventID = 19
	EventIDJobCompleted       EventID = 21
	EventIDDeviceRemoveFailed EventID = 22

	LastEventID EventID = 27 // of libvirt 11.3
)

// What is asked for, and sent.
type (
	// RegisterArgs of [ConnectCallbackRegister].
	RegisterArgs struct {
		Event EventID
		Dom   *Domain // nil: of all
	}
	// LifecycleEvent is a domain's new state, and why.
	LifecycleEvent struct {
		Dom           Domain
		Event, Detail int32
	}
	// DeviceEvent is of one device.
	DeviceEvent struct {
		Dom   Domain
		Alias string
	}
	// ForCallback is an event for whoever registered the callback.
	ForCallback[T any] struct {
		Callback int32
		Event    T
	}
	// JobEvent tells of a job that has ended.
	JobEvent struct {
		Dom    Domain
		Params []Param
	}
)
