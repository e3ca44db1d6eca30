#!/bin/sh
# Writes the documents beside this file anew, with virt-install on a host with libvirt and QEMU. Those
# here are of Debian 13: virt-install 5.0.0, libvirt 11.3.0, QEMU 10.0. Only MAC addresses are drawn.
set -eu
cd "$(dirname "$0")"
disk=/var/lib/libvirt/images/vgpukit-address.img # the test makes it

document() {
	name=$1
	shift
	virt-install --print-xml --connect qemu:///system --virt-type qemu --check all=off --network user --memory 96 \
		--name vgpukit-address --uuid 6b1d2c5e-7f0a-4c39-9d0e-3a5f8e21c704 "$@" >"$name.xml"
}

for machine in q35 pc; do
	document $machine-debian --machine $machine --osinfo debian12 --import --graphics vnc --disk path=$disk,format=raw
done
document q35-bare --machine q35 --osinfo generic --import --graphics none --disk none
document q35-windows --machine q35 --osinfo win10 --import --graphics vnc --disk path=$disk,format=raw --sound ich9
document pc-windows --machine pc --osinfo win7 --import --graphics vnc --disk path=$disk,format=raw --sound es1370
document q35-controllers --machine q35 --osinfo debian12 --import --graphics vnc --disk none \
	--controller type=pci,model=pcie-root --controller type=pci,model=pcie-root-port --controller type=pci,model=pcie-to-pci-bridge
document q35-many --machine q35 --osinfo debian12 --import --graphics vnc --disk path=$disk,format=raw --disk device=cdrom,bus=sata \
	--disk device=cdrom,bus=scsi --controller type=scsi,model=virtio-scsi --controller usb,model=ich9-ehci1 \
	--network user,model=e1000 --rng /dev/urandom --watchdog i6300esb
