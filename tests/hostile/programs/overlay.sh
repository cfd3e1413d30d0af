#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# overlay.sh PROGRAM ARG...: runs a static program with an inode above 2^63, as any user may:
# overlayfs with xino, in a user and mount namespace of one's own. Run it below `unshare -Urm`.
set -e
program=$1
shift
mount -t tmpfs top /mnt
mkdir /mnt/low /mnt/high /mnt/both
mount -t tmpfs low /mnt/low
mount -t tmpfs high /mnt/high
mkdir /mnt/high/upper /mnt/high/work
cp "$program" /mnt/low/program
mount -t overlay over \
	-o xino=on,userxattr,lowerdir=/mnt/low,upperdir=/mnt/high/upper,workdir=/mnt/high/work /mnt/both
stat --format=%i /mnt/both/program
exec /mnt/both/program "$@"
