// Package statedir is a directory of small entries that many processes share: each
// entry is a file of its own, whole or absent, with a checksum; what is damaged is
// set aside and never taken for whole; file locks keep processes apart.
//
// What is stored is the caller's: see [Entries], which outlive a loss of power, and
// [Marks], which need not. The directory is one machine's: see [Dir.Bind].
package statedir
