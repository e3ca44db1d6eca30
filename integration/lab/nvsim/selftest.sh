#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Checks of the modules on a running kernel, as root. Unloads and loads them,
# so no VM may run. Needs QEMU; prints "N passed, N failed".
boards=05:13f2,06:1eb8:old,41:2235:32,61:26b9:32,81:20f1:16:mdev:mig,a1:2bb5:mig
pci=/sys/bus/pci/devices
mdevs=/sys/bus/mdev/devices
knobs=/sys/module/nvsim/parameters
sriov=/usr/lib/nvidia/sriov-manage
tmp=$(mktemp -d)
passed=0
failed=0

# --- how to check ---

check() { # what, got, want
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1: got '$2', want '$3'"
	fi
}

# Writes text and a newline; prints ok or the error's name.
put() { # file, text
	if { env printf '%s\n' "$2" > "$1"; } 2> "$tmp/err"; then
		echo ok
	else
		errno < "$tmp/err"
	fi
}

get() { # file
	cat "$1" 2> "$tmp/err" || errno < "$tmp/err"
}

errno() {
	case $(cat) in
	*"Input/output error"*) echo EIO ;;
	*"Operation not permitted"*) echo EPERM ;;
	*"Numerical result out of range"*) echo ERANGE ;;
	*"Argument list too long"*) echo E2BIG ;;
	*"No such device or address"*) echo ENXIO ;;
	*"No such device"*) echo ENODEV ;;
	*"No space left"*) echo ENOSPC ;;
	*"Invalid argument"*) echo EINVAL ;;
	*"resource busy"*) echo EBUSY ;;
	*"File exists"*) echo EEXIST ;;
	*"No such file"*|*nonexistent*) echo ENOENT ;;
	*"not supported"*) echo EOPNOTSUPP ;;
	*) echo other ;;
	esac
}

uuid() { # number
	printf '00000000-0000-4000-8000-%012d' "$1"
}

type_of() { # parent, id
	echo "$pci/0000:$1/mdev_supported_types/nvidia-$2"
}

create() { # parent, type, uuid's number
	put "$(type_of "$1" "$2")/create" "$(uuid "$3")"
}

left() { # parent, type
	get "$(type_of "$1" "$2")/available_instances"
}

remove() { # uuid's number
	put "$mdevs/$(uuid "$1")/remove" 1
}

# --- virtual machines ---

daemonize=-daemonize

# Starts one; its device is open when this returns.
vm() { # name, device, further arguments
	name=$1
	device=$2
	shift 2
	rm -f "$tmp/$name".*
	mkfifo "$tmp/$name.in" "$tmp/$name.out"
	timeout 60 qemu-system-x86_64 -name "guest=$name,debug-threads=on" -machine q35 \
		-accel tcg -m 32 -nodefaults -display none \
		-monitor "pipe:$tmp/$name" $daemonize -pidfile "$tmp/$name.pid" \
		-device "vfio-pci,sysfsdev=$device,addr=0x8,display=on,enable-migration=on" \
		"$@" 2> "$tmp/qemu.err" || { errno < "$tmp/qemu.err"; return; }
	# the monitor echoes, and would stop when its pipe is full
	cat "$tmp/$name.out" > /dev/null 2>&1 &
	echo started
}

# Runs the command until it succeeds, for 30 seconds at most.
wait_for() {
	i=0
	until "$@"; do
		[ $i -lt 300 ] || return 1
		sleep 0.1
		i=$((i + 1))
	done
}

runs() { # name
	pid=$(cat "$tmp/$1.pid" 2> /dev/null)
	[ -n "$pid" ] && [ -d "/proc/$pid" ]
}

gone() { # name
	! runs "$1"
}

end() { # name, signal
	runs "$1" || return
	kill "-${2:-TERM}" "$pid"
	wait_for gone "$1"
}

monitor() { # name, command
	runs "$1" && echo "$2" > "$tmp/$1.in"
}

shot_taken() {
	[ "$(stat -c %s "$tmp/shot" 2> /dev/null)" = 921615 ]
}

# The caption that the picture carries in its first row.
picture() { # name
	rm -f "$tmp/shot"
	monitor "$1" "screendump $tmp/shot" || return
	wait_for shot_taken
	tail -c +16 "$tmp/shot" | head -c 600 | tr -d '\0'
}

same_uuid="-uuid $(uuid 99)"

# --- the checks ---

reload() {
	rmmod nvsim nvbus 2> /dev/null
	modprobe nvbus gpu=$boards
	udevadm settle
	modprobe nvsim
}

legacy() {
	check "the types' number" "$(ls $pci/0000:05:00.0/mdev_supported_types | wc -l)" 14
	check "name" "$(get "$(type_of 05:00.0 22)/name")" "GRID M60-8Q"
	check "device_api" "$(get "$(type_of 05:00.0 22)/device_api")" vfio-pci
	check "description" "$(get "$(type_of 05:00.0 11)/description")" \
		"num_heads=2, frl_config=45, framebuffer=512M, max_resolution=2560x1600, max_instance=16"
	check "no uuid" "$(put "$(type_of 05:00.0 22)/create" abc)" EINVAL
	check "first" "$(create 05:00.0 18 1)" ok
	check "same uuid" "$(create 05:00.0 18 1)" EEXIST
	check "other size" "$(create 05:00.0 22 2)" EIO
	check "left of it" "$(left 05:00.0 18)" 3
	check "left of the same size" "$(left 05:00.0 17)" 3
	check "left of another size" "$(left 05:00.0 15)" 0
	check "other gpu" "$(left 06:00.0 234)" 1
	check "same size" "$(create 05:00.0 17 2)$(create 05:00.0 16 3)$(create 05:00.0 210 4)" okokok
	check "full" "$(create 05:00.0 18 5)" EIO
	for n in 1 2 3 4; do check "remove $n" "$(remove $n)" ok; done
	check "all left" "$(left 05:00.0 18)" 4

	check "old: first" "$(create 06:00.0 231 1)" ok
	check "old: same size, other type" "$(create 06:00.0 226 2)" EIO
	check "old: same type" "$(create 06:00.0 231 2)" ok
	check "old: remove" "$(remove 1)$(remove 2)" okok
}

functions() {
	check "raw numvfs" "$(put $pci/0000:61:00.0/sriov_numvfs 4)" ENOENT
	echo 1 > $pci/0000:61:00.0/nvsim/held
	check "held" "$($sriov -e 0000:61:00.0 2>&1)" "Cannot obtain unbindLock for 0000:61:00.0"
	echo 0 > $pci/0000:61:00.0/nvsim/held
	echo 1 > $pci/0000:61:00.0/nvsim/sriov_fail
	$sriov -e 0000:61:00.0 > /dev/null 2>&1
	check "failed, but exits" $? 0
	check "no VF" "$(get $pci/0000:61:00.0/sriov_numvfs)" 0
	echo 0 > $pci/0000:61:00.0/nvsim/sriov_fail
	$sriov -e ALL > /dev/null
	check "enabled" $? 0
	check "first VF" "$(basename "$(readlink $pci/0000:61:00.0/virtfn0)")" 0000:61:00.4
	check "last VF" "$(basename "$(readlink $pci/0000:61:00.0/virtfn31)")" 0000:61:04.3
	check "driver" "$(basename "$(readlink $pci/0000:61:00.4/driver)")" nvidia
	check "ids" "$(get $pci/0000:61:00.4/vendor) $(get $pci/0000:61:00.4/device)" "0x10de 0x26b9"
	check "PF is no parent" "$(ls -d $pci/0000:41:00.0/mdev_supported_types 2>/dev/null)" ""
	check "PF has no files" "$(ls -d $pci/0000:61:00.0/nvidia 2>/dev/null)" ""
	check "minor" "$(grep -c 'Device Minor: 	 3' /proc/driver/nvidia/gpus/0000:61:00.0/information)" 1
}

mdev_on_vfs() {
	check "one a VF" "$(left 41:00.4 557)" 1
	check "create" "$(create 41:00.4 566 1)" ok
	check "taken" "$(left 41:00.4 566)$(left 41:00.5 566)" 00
	check "second on the VF" "$(create 41:00.4 566 2)" EIO
	check "no room on the sibling" "$(create 41:00.5 566 2)" EIO
	check "remove" "$(remove 1)" ok
	check "back" "$(left 41:00.5 566)" 1
	check "24 GB" "$(create 41:00.4 565 1)" ok
	check "sibling, same size" "$(left 41:00.5 575)" 1
	check "sibling, other size" "$(left 41:00.5 557)" 0
	check "remove" "$(remove 1)" ok
}

mixed() {
	check "mixed mode" "$(put $pci/0000:41:00.0/nvsim/mixed 1)" ok
	check "24 GB" "$(create 41:00.4 565 1)" ok
	check "48 GB" "$(left 41:00.5 566)" 0
	check "16 GB beside it" "$(create 41:00.5 564 2)" ok
	check "1 GB beside them" "$(create 41:00.6 557 3)" ok
	check "no change with vGPUs" "$(put $pci/0000:41:00.0/nvsim/mixed 0)" EBUSY
	check "remove" "$(remove 1)$(remove 2)$(remove 3)" okokok
	$sriov -d 0000:41:00.0 > /dev/null
	check "cleared by sriov-manage" "$(get $pci/0000:41:00.0/nvsim/mixed)" 0
}

mig() {
	smi="nvidia-smi mig -i 0000:81:00.0"
	check "no MIG board" "$(put $pci/0000:41:00.0/nvsim/mig 1)" EOPNOTSUPP
	check "no instance yet" "$(left 81:00.4 476)" 0
	check "not backed by MIG" "$(left 81:00.4 473)" 0
	check "none shown" "$(ls /proc/driver/nvidia/capabilities/gpu4/mig)" ""
	check "no such profile" "$(put $pci/0000:81:00.0/nvsim/gpu_instances 9g.5gb)" EINVAL
	check "instances" "$($smi -cgi 3g.20gb,2g.10gb,1g.5gb+me | tail -1)" \
		"Successfully created GPU instance ID  7 on GPU  4 using profile MIG 1g.5gb+me"
	check "shown" "$(ls /proc/driver/nvidia/capabilities/gpu4/mig | tr '\n' ' ')" "gi1 gi3 gi7 "
	check "listed" "$($smi -lgi | sed -n 2p)" "  4  MIG 3g.20gb                   1       19.69"
	check "access" "$(head -1 /proc/driver/nvidia/capabilities/gpu4/mig/gi7/access)" "DeviceFileMinor: 578"
	check "too many" "$(put $pci/0000:81:00.0/nvsim/gpu_instances 4g.20gb)" ENOSPC
	check "profiles" "$(get $pci/0000:81:00.0/nvsim/gpu_instance_profiles | head -2 | tr '\n' ' ')" "1g.5gb 1/7 1g.5gb+me 0/1 "
	check "room" "$(left 81:00.4 476)$(left 81:00.4 475)$(left 81:00.4 474)$(left 81:00.4 706)" 1101
	check "create" "$(create 81:00.4 476 1)" ok
	check "no more" "$(create 81:00.5 476 2)" EIO
	check "listed with its vGPU" "$(head -1 $pci/0000:81:00.0/nvsim/gpu_instances)" "1 3g.20gb $(uuid 1)"
	check "instance in use" "$(put $pci/0000:81:00.0/nvsim/gpu_instances -1)" EBUSY
	check "said so" "$($smi -dgi -gi 1)" "a vGPU has it: device or resource busy"
	check "GPU in use" "$(nvidia-smi -i 4 -mig 0)" "a vGPU has it: device or resource busy"
	check "remove" "$(remove 1)" ok
	check "destroyed" "$($smi -dgi -gi 1)" "Successfully destroyed GPU instance ID  1 from GPU  4"
	check "there is none" "$(put $pci/0000:81:00.0/nvsim/gpu_instances -1)" ENOENT
	$sriov -d 0000:81:00.0 > /dev/null
	check "wiped by sriov-manage" "$(get $pci/0000:81:00.0/nvsim/gpu_instances)" ""
}

# vGPUs that share GPU instances.
shared() {
	a=$pci/0000:a1:00.4/nvidia
	b=$pci/0000:a1:00.5/nvidia
	check "without instances" "$(put $a/current_vgpu_type 1564)" EIO
	check "instances" "$(nvidia-smi mig -i 00000000:A1:00.0 -cgi 1g.24gb+gfx,1g.24gb | wc -l)" 2
	check "in the first" "$(put $a/current_vgpu_type 1564)$(get $a/gpu_instance_id)" ok3
	check "of its size" "$(sed 1d $b/creatable_vgpu_types | cut -c1-4 | tr '\n' ' ')" "1564 1565 1566 "
	check "another size" "$(put $b/current_vgpu_type 1561)" EIO
	check "beside it" "$(put $b/current_vgpu_type 1565)$(get $b/gpu_instance_id)" ok3
	check "full" "$(put $pci/0000:a1:00.6/nvidia/current_vgpu_type 1564)" EIO
	check "no graphics" "$(put $a/gpu_instance_id 4)" EIO
	check "no such instance" "$(put $a/gpu_instance_id 9)" EINVAL
	check "clear" "$(put $a/current_vgpu_type 0)$(put $b/current_vgpu_type 0)" okok
	check "MIG off" "$(nvidia-smi -i 5 -mig 0 | head -1)" "Disabled MIG Mode for GPU 0000:a1:00.0"
	check "rows" "$(sed 1d $a/creatable_vgpu_types | wc -l)" 33
	check "MIG on" "$(nvidia-smi -i 5 -mig 1 | tail -1)" "All done."
}

vendor() {
	a=$pci/0000:61:00.4/nvidia
	b=$pci/0000:61:00.5/nvidia
	check "header" "$(head -1 $a/creatable_vgpu_types)" "ID    : vGPU Name"
	check "row" "$(sed -n 2p $a/creatable_vgpu_types)" "1145  : NVIDIA L40S-1B"
	check "rows" "$(wc -l < $a/creatable_vgpu_types)" 24
	check "none" "$(get $a/current_vgpu_type)" 0
	for f in vgpu_params placement_id gpu_instance_id; do
		check "$f without a vGPU" "$(get $a/$f)" ENXIO
	done
	check "write params without" "$(put $a/vgpu_params x=1)" ENXIO
	check "word" "$(put $a/current_vgpu_type abc)" EINVAL
	check "too big" "$(put $a/current_vgpu_type 99999999999)" ERANGE
	check "0 with none" "$(put $a/current_vgpu_type 0)" EPERM
	check "unknown type" "$(put $a/current_vgpu_type 22)" EIO
	check "still none" "$(get $a/current_vgpu_type)" 0
	check "open without" "$(vm none $pci/0000:61:00.4 $same_uuid)" ENODEV
	check "set" "$(put $a/current_vgpu_type 1155)" ok
	check "is set" "$(get $a/current_vgpu_type)" 1155
	check "set again" "$(put $a/current_vgpu_type 1155)" EPERM
	check "own list" "$(wc -l < $a/creatable_vgpu_types)" 1
	check "sibling's list" "$(sed 1d $b/creatable_vgpu_types | tr '\n' ' ')" \
		"1155  : NVIDIA L40S-24Q 1165  : NVIDIA L40S-24A "
	check "other size" "$(put $b/current_vgpu_type 1147)" EIO
	check "placement" "$(get $a/placement_id)$(put $a/placement_id 24)$(get $a/placement_id)" 65535ok24
	check "no placement" "$(put $a/placement_id 5)" EINVAL
	check "sibling" "$(put $b/current_vgpu_type 1155)" ok
	check "placement taken" "$(put $b/placement_id 24)" EIO
	check "full" "$(wc -l < $pci/0000:61:00.6/nvidia/creatable_vgpu_types)" 1
	check "clear" "$(put $b/current_vgpu_type 0)$(put $a/current_vgpu_type 0)" okok
}

params() { # folder
	check "params empty" "$(get "$1/vgpu_params")" ""
	check "params set" "$(put "$1/vgpu_params" a=1,b=2)$(get "$1/vgpu_params")" oka=1,b=2
	check "params replaced" "$(put "$1/vgpu_params" c=3)$(get "$1/vgpu_params")" okc=3
	env printf 'd=4x' > "$1/vgpu_params"
	check "last character dropped" "$(get "$1/vgpu_params")" d=4
	check "1025 bytes" "$(put "$1/vgpu_params" "$(printf %01024d 0)")" E2BIG
	check "1024 bytes" "$(put "$1/vgpu_params" "$(printf %01023d 0)")" ok
	check "cleared" "$(put "$1/vgpu_params" ' ')$(get "$1/vgpu_params")" ok
}

in_use() {
	create 05:00.0 22 1 > /dev/null
	n=$mdevs/$(uuid 1)/nvidia
	params "$n"
	check "idle" "$(get "$n/vm_name")" ""
	check "QEMU without -uuid" "$(vm anon $mdevs/"$(uuid 1)")" EIO
	check "VM" "$(vm desk $mdevs/"$(uuid 1)" $same_uuid)" started
	check "vm_name" "$(get "$n/vm_name")" desk
	check "params while it runs" "$(put "$n/vgpu_params" a=1)" EPERM
	check "in use: no lock" "$(echo 1 > /proc/driver/nvidia/gpus/0000:05:00.0/unbindLock
		get /proc/driver/nvidia/gpus/0000:05:00.0/unbindLock)" 0
	check "in use: unload" "$(rmmod nvsim 2>&1 | grep -c 'in use')" 1
	check "picture" "$(picture desk | sed -n '1p;3p;5p' | tr '\n' '|')" \
		"Tesla M60|type 22 GRID M60-8Q|vGPU $(uuid 1)|"
	end desk
	check "idle again" "$(get "$n/vm_name")" ""

	# remove of a device in use waits for the VM
	vm one $mdevs/"$(uuid 1)" $same_uuid > /dev/null
	(echo 1 > $mdevs/"$(uuid 1)"/remove) &
	sleep 0.5
	check "remove waits" "$(kill -0 $! && left 05:00.0 22)" 0
	end one KILL
	wait $!
	check "removed" "$(left 05:00.0 22)" 1
}

cleared() { # folder
	[ "$(put "$1/current_vgpu_type" 0)" = ok ]
}

in_use_vf() {
	a=$pci/0000:61:00.4/nvidia
	put $a/current_vgpu_type 1155 > /dev/null
	params $a
	put $a/vgpu_params vgpu-placement-id=5 > /dev/null
	check "start with a bad placement" "$(vm none $pci/0000:61:00.4 $same_uuid)" EIO
	put $a/vgpu_params vgpu-placement-id=24 > /dev/null
	check "VM" "$(vm one $pci/0000:61:00.4 $same_uuid)" started
	check "placement" "$(get $a/placement_id)" 24
	check "clear while it runs" "$(put $a/current_vgpu_type 0)" EPERM
	check "placement while it runs" "$(put $a/placement_id 0)" EPERM
	check "params while it runs" "$(put $a/vgpu_params a=1)" EPERM
	check "VFs while it runs" "$($sriov -d 0000:61:00.0 2>&1)" "Cannot obtain unbindLock for 0000:61:00.0"
	check "picture" "$(picture one | sed -n '1p;3p;5p' | tr '\n' '|')" \
		"NVIDIA L40S|type 1155 NVIDIA L40S-24Q|vGPU 0000:61:00.4|"

	echo 12000 > $knobs/linger_ms
	end one
	check "clean-up lasts" "$(put $a/current_vgpu_type 0)" EBUSY
	wait_for cleared $a
	check "clean-up waited for" $? 0
	echo 0 > $knobs/linger_ms
}

several() {
	a=$pci/0000:61:00.4
	b=$pci/0000:61:00.5
	put $a/nvidia/current_vgpu_type 1155 > /dev/null
	put $b/nvidia/current_vgpu_type 1165 > /dev/null
	check "Q and A in a VM" "$(vm two $a $same_uuid -device vfio-pci,sysfsdev=$b)" EIO
	put $b/nvidia/current_vgpu_type 0 > /dev/null
	put $b/nvidia/current_vgpu_type 1155 > /dev/null
	check "two Q in a VM" "$(vm two $a $same_uuid -device vfio-pci,sysfsdev=$b)" started
	end two
	put $a/nvidia/current_vgpu_type 0 > /dev/null
	put $b/nvidia/current_vgpu_type 0 > /dev/null
}

# guest.S, assembled
boot_sector() {
	base64 -d <<-'END'
	+jHAjthmDwEWgHwPIMAMAQ8iwOoYfAgAZrgQAI7YMduJ2MHgCA0AAACAZrr4DO+JwWa6/AztZj3e
	EHQEZkPr4I1BEGa6+AzvZrr8DO0k8InHDzGJhwAQAADHhwQQAAANYA1g9Ov9ZpAAAAAAAAAAAP//
	AAAAms8A//8AAACSzwAXAGh8AAA=
	END
	head -c 376 /dev/zero
	printf '\125\252'
}

written() {
	[ "$(picture guest | grep -c 'scratch .* 600d600d')" = 1 ]
}

# Saves a VM with a state of its own, and restores it, here and on another type.
migration() { # device, device of another type
	boot_sector > "$tmp/boot"
	truncate -s 1M "$tmp/boot"
	drive="-drive file=$tmp/boot,format=raw,if=ide,snapshot=on"
	check "guest" "$(vm guest "$1" $same_uuid $drive)" started
	wait_for written
	check "the guest wrote" $? 0
	before=$(picture guest)
	rm -f "$tmp/state"
	monitor guest "migrate file:$tmp/state"
	monitor guest quit	# read when the migration is over
	wait_for gone guest
	check "restore" "$(vm guest "$1" $same_uuid $drive -incoming "file:$tmp/state")" started
	wait_for written
	check "the state came along" "$(picture guest)" "$before"
	end guest
	daemonize=
	vm guest "$2" $same_uuid $drive -incoming "file:$tmp/state" > /dev/null
	daemonize=-daemonize
	check "another type refused" "$(grep -c 'Invalid argument' "$tmp/qemu.err")" 1
}

reload
legacy
functions
mdev_on_vfs
mixed
mig
shared
vendor
in_use
in_use_vf
several
create 05:00.0 20 1 > /dev/null
create 05:00.0 19 2 > /dev/null
migration $mdevs/"$(uuid 1)" $mdevs/"$(uuid 2)"
remove 1 > /dev/null
remove 2 > /dev/null
put $pci/0000:61:00.4/nvidia/current_vgpu_type 1155 > /dev/null
put $pci/0000:61:00.5/nvidia/current_vgpu_type 1165 > /dev/null
migration $pci/0000:61:00.4 $pci/0000:61:00.5
rmmod nvsim nvbus
check "unload" $? 0
check "nothing left" "$(ls -d $pci/0000:61:00.0 /proc/driver/nvidia 2>/dev/null)" ""
check "the kernel is content" "$(dmesg | grep -c 'WARNING:\|BUG:\|Oops')" 0
rm -rf "$tmp"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
