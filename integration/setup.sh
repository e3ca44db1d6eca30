#!/bin/sh
# Installs what building and testing need on a fresh Debian or Ubuntu machine (a
# C compiler, Go, libvirt's client library and virsh) and prints the path of a Go that
# is new enough. The lab installs what it needs itself.
set -eu

minor=26 # as in go.mod

say() { echo "setup: $*" >&2; }

install() {
	if [ "$(id -u)" != 0 ]; then
		say "missing: $*; run as root: apt-get install -y --no-install-recommends $*"
		exit 1
	fi
	say "installing $*"
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
		apt-get update -qq >&2
		apt-get install -y -qq --no-install-recommends "$@" >&2
	}
}

missing=
command -v gcc >/dev/null || missing="gcc libc6-dev"
/sbin/ldconfig -p | grep -q 'libvirt\.so\.0' || missing="$missing libvirt0"
command -v virsh >/dev/null || missing="$missing libvirt-clients"
command -v git >/dev/null || missing="$missing git"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || missing="$missing golang-go"
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || install $missing

# Go from 1.21 on fetches the version that go.mod names by itself. An older one
# can at least download it as the module that it is.
have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')
if [ "$have" -ge 21 ]; then
	command -v go
	exit
fi
version=v0.0.1-go1.$minor.0.$(go env GOOS)-$(go env GOARCH)
say "Go 1.$have is too old: fetching Go 1.$minor"
dir=$(cd / && GOFLAGS=-mod=mod go mod download -json "golang.org/toolchain@$version" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
[ -x "$dir/bin/go" ] || {
	# Modules carry no execute bits.
	chmod -R u+w "$dir"
	chmod u+x "$dir"/bin/* "$dir"/pkg/tool/*/*
}
echo "$dir/bin/go"
