#!/bin/sh
# Becomes the machine's systemd: `boot.sh FOLDER STAGED CHECKOUT`, in mount, cgroup, pid, uts, ipc and net
# namespaces of its own. FOLDER is empty, STAGED is what `make install DESTDIR=STAGED` made.
set -eu
folder=$1 staged=$2 checkout=$3

# The host's own root, of which no byte is changed: what is written or removed here is in memory.
mount -t tmpfs -o mode=755 upper "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
cp -a "$staged"/* "$root"

# Of what the host starts, nothing: some of it would change its kernel (sysctl, modules, AppArmor).
for wants in "$root"/usr/lib/systemd/system/*.wants "$root"/etc/systemd/system/*.wants \
	"$root"/usr/lib/systemd/system-generators "$root"/etc/systemd/system-generators; do
	rm -rf "$wants"
done
wants=$root/etc/systemd/system/sysinit.target.wants
mkdir -p "$wants"
ln -s /usr/lib/systemd/system/systemd-journald.service "$wants"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/machine.conf"
# What the host records, or may have recorded, is not this machine's.
rm -rf "$root/var/lib/execaudit" "$root/var/log/execaudit" "$root/var/log/journal"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
# It may be on a disk of its own.
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
# Tells systemd, too, that devices are none of its business.
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
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=execaudit-test \
	/lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
