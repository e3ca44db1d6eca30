package domain

// Document is a libvirt domain document. It never changes: edits return
// another Document. It is safe for concurrent use.
type Document struct {
	src  string
	root *node
}
