#!/bin/busybox sh
# The first program of a guest: brings the files for it into its root, and goes on there.
# A step that fails ends it, and with it the kernel: the guest is dead, and seen to be.
set -eu
bb=/bin/busybox
$bb mkdir -p /dev /proc /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
for module in /modules/*; do
	$bb insmod "$module"
done
# The disks: the root, what it is to do, and where its answer goes (guest.py).
tries=0
while [ ! -b /dev/vdc ] && [ $tries -lt 600 ]; do
	$bb sleep 0.1
	tries=$((tries + 1))
done
# What is written goes with the guest.
$bb mount -t ext4 -o noatime,nobarrier /dev/vda /root
$bb tar -x -C /root -f /dev/vdb
for folder in dev proc sys; do
	$bb mount -o move /$folder /root/$folder
done
exec $bb switch_root /root /bin/sh /job/guest.sh
