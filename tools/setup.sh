#!/bin/sh
# Install what this checkout needs: `tools/setup.sh setup`, `record`, `install`, `docs`,
# `test`, `test-report`, `test-kernels` or `test-fleet` (see the Makefile).
# Says what it installs; says nothing, and is quick, when nothing is missing. Kernel headers are not
# installed: bpf/include has the few that BCC needs.
set -eu

purpose=${1-}
CDPATH='' cd -- "$(dirname -- "$0")/.."
here=$(pwd -P)
. tools/environment.sh

say() { echo "setup: $*" >&2; }

fail() {
	say "$*"
	exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# python3-bpfcc brings libbpf.
packages='python3-bpfcc python3-venv'
extra='[dev]'
case $purpose in
setup | docs | test | test-report | test-kernels | test-fleet)
	[ "$purpose" != docs ] || extra='[dev,docs]'
	[ "$purpose" != test-report ] || extra='[dev,browser]'
	# gcc and python3-dev compile execaudit/native. The tests use these: strace shows which programs were
	# started, gcc compiles the programs that start others, sudo starts some of them, systemd checks and runs
	# the unit, man shows the man pages; mkfs.ext4 and mount make small disks, and setcap makes programs with
	# capabilities. The recipes in docs/ use jq and sqlite3, `top` is tried in tmux, and
	# completion in each shell. openssl makes certificates, and cryptsetup a volume as the page on security says.
	packages="$packages cryptsetup-bin strace gcc libc6-dev python3-dev sudo systemd man-db e2fsprogs mount libcap2-bin jq sqlite3 openssl tmux zsh fish"
	# Without the fonts, a picture of a page shows boxes.
	[ "$purpose" != test-report ] || packages="$packages chromium fonts-dejavu-core"
	# These make and run virtual machines, and have the keys of all releases of Debian.
	[ "$purpose" != test-kernels ] ||
		packages="$packages qemu-system-x86 seabios mmdebstrap debian-archive-keyring busybox-static cpio kmod e2fsprogs"
	# Servers, of which the tests start their own.
	[ "$purpose" != test-fleet ] || packages="$packages clickhouse-server postgresql-15"
	;;
record | install)
	extra=
	;;
*)
	fail 'usage: tools/setup.sh setup|record|install|docs|test|test-report|test-kernels|test-fleet'
	;;
esac
# Any user may build a package. tools/install.sh checks what needs root.
case $purpose in
setup | install | docs | test-report | test-fleet) ;;
*) is_root || fail "the probe needs root: run \`sudo make $purpose\`" ;;
esac

install_packages() {
	command -v dpkg-query >/dev/null ||
		fail "this works on Debian and Ubuntu only: install what they call $packages, then see README.md"
	missing=
	for package in $packages; do
		# shellcheck disable=SC2016  # dpkg's variable, not the shell's
		case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || :) in
		installed) ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	is_root || fail "only root may install packages: run \`sudo apt-get install$missing\`, or \`sudo make setup\`"
	say "installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	# A machine that has just started may still be updating itself: wait for the lock.
	apt="apt-get -qq -o DPkg::Lock::Timeout=120"
	$apt update || say 'apt-get update failed; using the old package lists'
	# shellcheck disable=SC2086  # lists of words
	$apt install --yes --no-install-recommends $missing >/dev/null
	for service in clickhouse-server postgresql; do
		case $missing in
		*" $service"*) systemctl --quiet disable --now "$service" || say "could not disable the service $service" ;;
		esac
	done
}

# Compiles what has changed since the last time. Where Cython is missing, pip has to bring it. tools/install.sh
# compiles for itself.
compile_native() {
	[ "$purpose" != install ] || return 0
	[ ! -e "$native_stamp" ] || [ "$(cat "$native_stamp")" != "$native" ] || return 0
	[ -x .venv/bin/cython ] && [ -w .venv ] || return 1
	say 'compiling execaudit/native'
	said=$(.venv/bin/python -m tools.compile_native 2>&1) || said="Python does all, slower; $said"
	[ -z "$said" ] || say "$said"
	echo "$native" >"$native_stamp"
}

is_ours() {
	# venv makes pip last: if it is missing, venv was interrupted. If it has another path, .venv was moved.
	[ -x .venv/bin/python ] && grep -qsF "$here/.venv/bin/" .venv/bin/pip &&
		grep -qsx "home = ${PYTHON%/*}" .venv/pyvenv.cfg &&
		grep -qsx "version = $version" .venv/pyvenv.cfg &&
		grep -qsx 'include-system-site-packages = true' .venv/pyvenv.cfg
}

install_execaudit() {
	version=$("$PYTHON" -V)
	version=${version#Python }
	# With the checkout's path, because the editable install and the scripts in bin/ contain it.
	wanted="$here $version $(cat pyproject.toml tools/setup.sh | cksum)"
	stamp=.venv/setup-stamp
	# shellcheck disable=SC2086  # a list of words
	native="$(cat $native_files | cksum) $(what_compiles)"
	native_stamp=.venv/native-stamp
	if is_ours && [ -e "$stamp" ]; then
		# [dev] and more is enough for the tests and the recorder, but not for what needs another extra.
		case "$(cat "$stamp") for $extra" in
		"$wanted $extra for $extra" | "$wanted [dev"*' for ' | "$wanted [dev"*' for [dev]') compile_native && return 0 ;;
		esac
	fi
	[ ! -e .venv ] || [ -w .venv ] || fail '.venv belongs to another user: run `sudo make setup`'
	if ! is_ours; then
		say "making .venv with $PYTHON"
		"$PYTHON" -m venv --clear --system-site-packages .venv
	fi
	say "installing execaudit$extra into .venv"
	rm -f "$stamp" "$why_not_compiled"
	.venv/bin/python -m pip install --quiet --editable ".$extra"
	[ "$purpose" = install ] || say_if_not_compiled
	echo "$native" >"$native_stamp"
	echo "$wanted $extra" >"$stamp"
}

mount_tracefs() {
	for folder in /sys/kernel/tracing /sys/kernel/debug/tracing; do
		[ ! -d "$folder/events" ] || return 0
	done
	say 'mounting tracefs at /sys/kernel/tracing'
	mount -t tracefs tracefs /sys/kernel/tracing
}

make_database() {
	folder=/var/lib/execaudit
	if [ -z "${EXECAUDIT_DB-}" ] && [ ! -e "$folder/execaudit.db" ]; then
		# Command lines hold secrets.
		[ -d "$folder" ] || install -d -m 0750 "$folder"
		.venv/bin/execaudit db upgrade
	fi
}

install_packages
install_execaudit
case $purpose in
test | test-kernels)
	mount_tracefs
	;;
record)
	mount_tracefs
	make_database
	;;
esac
