// Package xmldoc reads XML as libvirt's parser, libxml2, does, into a tree that knows
// where in the text each element stands.
package xmldoc
