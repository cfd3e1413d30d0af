#!/bin/sh
# Install execaudit, or remove it: `tools/install.sh install` or `uninstall` (see the Makefile). PREFIX and
# DESTDIR have their usual meaning. Says what it does, and nothing when there is nothing to do.
set -eu

PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR-}

say() { echo "install: $*" >&2; }

fail() {
	say "$*"
	exit 1
}

purpose=${1-}
case $purpose in install | uninstall) ;; *) fail 'usage: tools/install.sh install|uninstall' ;; esac
case $PREFIX in /*) ;; *) fail "PREFIX must be an absolute path, not $PREFIX" ;; esac
# It is written into a unit, a script and a sed command.
case $PREFIX in *[!A-Za-z0-9/._+-]*) fail "PREFIX may have letters, digits and /._+- only, not $PREFIX" ;; esac
# pip takes it between brackets.
case ${EXTRAS:-} in *[!a-z,]*) fail "EXTRAS may have names of extras only, with commas between, not $EXTRAS" ;; esac
case $DESTDIR in '' | /*) ;; *) fail "DESTDIR must be an absolute path, not $DESTDIR" ;; esac
[ -n "$DESTDIR" ] || [ "$(id -u)" -eq 0 ] || fail "this needs root: run \`sudo make $purpose\`, or set DESTDIR"
CDPATH='' cd -- "$(dirname -- "$0")/.."
. tools/environment.sh
umask 022

# systemd reads files below these two prefixes, and in /etc.
case $PREFIX in
/usr | /usr/local) units=$PREFIX/lib/systemd/system users=$PREFIX/lib/sysusers.d files=$PREFIX/lib/tmpfiles.d ;;
*) units=/etc/systemd/system users=/etc/sysusers.d files=/etc/tmpfiles.d ;;
esac
library=$PREFIX/lib/execaudit
share=$PREFIX/share
config=/etc/execaudit/config.toml

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

is_live() { [ -z "$DESTDIR" ]; }
has_systemd() { is_live && [ -d /run/systemd/system ]; }

put() { # FILE TO MODE
	[ ! -f "$DESTDIR$2" ] || ! cmp -s "$1" "$DESTDIR$2" || return 0
	say "writing $DESTDIR$2"
	install -D -m "$3" "$1" "$DESTDIR$2.new"
	mv -f "$DESTDIR$2.new" "$DESTDIR$2"
	changed="$changed $2"
}

# Where each file goes: `FILE TO MODE`, a line each. Files that make_files writes are below $scratch.
list() {
	echo "$scratch/execaudit $PREFIX/bin/execaudit 755"
	echo "$scratch/execaudit.service $units/execaudit.service 644"
	echo "$scratch/execaudit-forward.service $units/execaudit-forward.service 644"
	echo "$scratch/execaudit-timestamp.service $units/execaudit-timestamp.service 644"
	echo "packaging/execaudit.sysusers $users/execaudit.conf 644"
	echo "packaging/execaudit.tmpfiles $files/execaudit.conf 644"
	echo "packaging/execaudit.logrotate /etc/logrotate.d/execaudit 644"
	echo "$scratch/bash/execaudit $share/bash-completion/completions/execaudit 644"
	echo "$scratch/zsh/_execaudit $share/zsh/site-functions/_execaudit 644"
	echo "$scratch/fish/execaudit.fish $share/fish/vendor_completions.d/execaudit.fish 644"
}

# The program imports from $library first. Python's -I ignores the environment and the working directory.
make_files() {
	cat >"$scratch/execaudit" <<-END
		#!$PYTHON -I
		import sys

		sys.path.insert(0, "$library")
		from execaudit.cli import main

		main()
	END
	sed "s|/usr/local/bin/|$PREFIX/bin/|" execaudit.service >"$scratch/execaudit.service"
	for unit in execaudit-forward execaudit-timestamp; do
		sed "s|/usr/local/bin/|$PREFIX/bin/|" "packaging/$unit.service" >"$scratch/$unit.service"
	done
	mkdir "$scratch/man"
	.venv/bin/python tools/completions.py "$scratch"
	# The date of a page is the day of the last change of the code, not today.
	day=$(find execaudit tools -name '*.py' -printf '%Ts\n' | sort -n | tail -n 1)
	SOURCE_DATE_EPOCH=$day .venv/bin/python tools/manpages.py "$scratch/man"
}

# With all packages that it needs but BCC, which comes from the distribution. So neither pip nor an update of
# the distribution's other packages changes what the recorder uses.
install_library() {
	made_of=$({
		"$PYTHON" -V
		echo "${EXTRAS:-}"
		echo "$library"
		# shellcheck disable=SC2086  # a list of words
		find execaudit bpf migrations pyproject.toml tools/install.sh $native_files \
			-type f ! -name '*.pyc' ! -name '*.so' -exec cksum {} + | sort
		what_compiles
	} | cksum)
	stamp=$DESTDIR$library/made-of
	[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$made_of" ] || return 0
	say "installing into $DESTDIR$library"
	new=$DESTDIR$library.new
	rm -rf "$new"
	mkdir -p "$new"
	rm -f "$why_not_compiled"
	.venv/bin/python -m pip install --quiet --no-compile --target "$new" ".${EXTRAS:+[$EXTRAS]}"
	say_if_not_compiled
	rm -rf "$new/bin"
	"$PYTHON" -m compileall -q -s "$new" -p "$library" "$new"
	echo "$made_of" >"$new/made-of"
	rm -rf "$DESTDIR$library.old"
	[ ! -e "$DESTDIR$library" ] || mv "$DESTDIR$library" "$DESTDIR$library.old"
	mv "$new" "$DESTDIR$library"
	rm -rf "$DESTDIR$library.old"
	changed="$changed $library"
}

install_all() {
	changed=
	make_files
	install_library
	list >"$scratch/list"
	for page in "$scratch"/man/*; do
		echo "$page $share/man/man1/${page##*/} 644"
	done >>"$scratch/list"
	while read -r file to mode; do
		put "$file" "$to" "$mode"
	done <"$scratch/list"
	# The administrator owns the settings: an installed file is never replaced.
	[ -e "$DESTDIR$config" ] || put packaging/config.toml "$config" 644
	is_live || return 0
	# Both change nothing if everything is as it should be.
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers "$users/execaudit.conf"
		systemd-tmpfiles --create "$files/execaudit.conf"
	else
		say 'there is no systemd here: make the user execaudit, and start `execaudit record` in another way'
	fi
	[ -n "$changed" ] && has_systemd || return 0
	systemctl daemon-reload
	if systemctl --quiet is-active execaudit.service; then
		say 'the service still runs the old version: run `systemctl restart execaudit`'
	else
		say 'to record from now on: `systemctl enable --now execaudit`'
	fi
}

remove() {
	[ -e "$DESTDIR$1" ] || return 0
	say "removing $DESTDIR$1"
	rm -rf "$DESTDIR${1:?}"
}

# DESTDIR may be empty, but paths are not: `remove` never gets a shorter path than /etc/... or $PREFIX/...
uninstall_all() {
	if has_systemd && systemctl --quiet cat execaudit.service >/dev/null 2>&1; then
		systemctl --quiet disable --now execaudit.service
	fi
	list >"$scratch/list"
	while read -r _ to _; do
		remove "$to"
	done <"$scratch/list"
	for page in "$DESTDIR$share"/man/man1/execaudit.1 "$DESTDIR$share"/man/man1/execaudit-*.1; do
		remove "${page#"$DESTDIR"}"
	done
	remove "$library"
	if cmp -s packaging/config.toml "$DESTDIR$config"; then
		remove "$config"
		rmdir "$DESTDIR${config%/*}" 2>/dev/null || :
	elif [ -e "$DESTDIR$config" ]; then
		say "$DESTDIR$config was changed, and stays"
	fi
	if has_systemd; then systemctl daemon-reload; fi
	is_live || return 0
	for folder in /var/lib/execaudit /var/log/execaudit; do
		[ ! -d "$folder" ] || say "what was recorded stays in $folder, and the user execaudit with it"
	done
}

"${purpose}_all"
