// Package libvirtid tells which libvirt a connection URI leads to: two URIs that are
// spelled differently may lead to one, and those of two users' sessions lead to two.
// It reads what libvirt's remote driver reads of a URI and asks nobody.
package libvirtid
