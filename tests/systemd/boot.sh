#!/bin/sh
# Becomes the machine's systemd: `boot.sh FOLDER STAGED CHECKOUT`, in mount, cgroup, pid, uts, ipc and net
# namespaces of its own. FOLDER is empty. STAGED was filled by `make install DESTDIR=STAGED`.
set -eu
folder=$1 staged=$2 checkout=$3

# An overlay over the host's root, which does not change: everything that is written or removed is in memory.
mount -t tmpfs -o mode=755 upper "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
cp -a "$staged"/* "$root"

# Start none of the host's services: some of them would change its kernel (sysctl, modules, AppArmor).
for wants in "$root"/usr/lib/systemd/system/*.wants "$root"/etc/systemd/system/*.wants \
	"$root"/usr/lib/systemd/system-generators "$root"/etc/systemd/system-generators; do
	rm -rf "$wants"
done
wants=$root/etc/systemd/system/sysinit.target.wants
mkdir -p "$wants"
ln -s /usr/lib/systemd/system/systemd-journald.service "$wants"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/machine.conf"
# This machine must not see the records of the host.
rm -rf "$root/var/lib/execaudit" "$root/var/log/execaudit" "$root/var/log/journal"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
# The checkout may be on another disk, which the overlay lacks.
if [ ! -e "$root$checkout/Makefile" ]; then
	mkdir -p "$root$checkout"
	mount --bind "$checkout" "$root$checkout"
fi

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --rbind /sys "$root/sys"
umount -l "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# A read-only /sys also tells systemd not to manage devices.
mount -o remount,bind,ro "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=755 run "$root/run"

hostname machine
cd "$root"
mkdir -p .host
pivot_root . .host
umount -l /.host
# systemd expects this of who starts it in a container: else no service would see its credentials.
mount --make-rshared /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=execaudit-test \
	/lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
