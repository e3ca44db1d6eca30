package domain

import "github.com/google/uuid"

// WithUUID returns the document with the domain's UUID, in the place of one that it has; the
// same document if that is it.
func (d *Document) WithUUID(id uuid.UUID) (*Document, error) {
	if now, ok := d.UUID(); ok && now == id {
		return d, nil
	}
	text := "<uuid>" + id.String() + "</uuid>"
	if n := d.root.Child("uuid"); n != nil {
		return d.edited(d.src[:n.Start] + text + d.src[n.End:])
	}
	return d.edited(d.insert(d.root, lastOf(d.root, []string{"name"}), text))
}
