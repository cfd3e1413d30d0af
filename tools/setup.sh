#!/bin/sh
# Install what this checkout needs: `tools/setup.sh setup`, `record`, `install`, `docs`,
# `test` or `test-kernels` (see the Makefile).
# Says what it installs; silent and quick when nothing is missing. No kernel headers: the few
# that BCC needs are in bpf/include.
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
setup | docs | test | test-kernels)
	[ "$purpose" != docs ] || extra='[dev,docs]'
	# strace says what was started, gcc makes the programs that start things, sudo starts some of
	# them, systemd has what reads the unit and runs it, and man reads the manual; mkfs.ext4 and mount
	# make small disks, and setcap programs with capabilities. The recipes of the documentation use jq and sqlite3.
	packages="$packages strace gcc libc6-dev sudo systemd man-db e2fsprogs mount libcap2-bin jq sqlite3"
	# What makes and runs virtual machines, with the keys of all of Debian's releases.
	[ "$purpose" != test-kernels ] ||
		packages="$packages qemu-system-x86 seabios mmdebstrap debian-archive-keyring busybox-static cpio kmod e2fsprogs"
	;;
record | install)
	extra=
	;;
*)
	fail 'usage: tools/setup.sh setup|record|install|docs|test|test-kernels'
	;;
esac
# A package is built by nobody in particular; tools/install.sh says what needs root.
case $purpose in
setup | install | docs) ;;
*) is_root || fail "the probe needs root: run \`sudo make $purpose\`" ;;
esac

install_packages() {
	command -v dpkg-query >/dev/null ||
		fail "this is for Debian and Ubuntu: install what they call $packages, then see README.md"
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
	# A machine that has just started may still be updating itself: wait for its lock.
	apt="apt-get -qq -o DPkg::Lock::Timeout=120"
	$apt update || say 'apt-get update failed; going on with the lists that are there'
	# shellcheck disable=SC2086  # lists of words
	$apt install --yes --no-install-recommends $missing >/dev/null
}

is_ours() {
	# pip comes last: without it venv was interrupted. With another path in it, .venv was moved.
	[ -x .venv/bin/python ] && grep -qsF "$here/.venv/bin/" .venv/bin/pip &&
		grep -qsx "home = ${PYTHON%/*}" .venv/pyvenv.cfg &&
		grep -qsx "version = $version" .venv/pyvenv.cfg &&
		grep -qsx 'include-system-site-packages = true' .venv/pyvenv.cfg
}

install_execaudit() {
	version=$("$PYTHON" -V)
	version=${version#Python }
	# The checkout's path too: the editable install and the scripts in bin/ name it.
	wanted="$here $version $(cat pyproject.toml tools/setup.sh | cksum)"
	stamp=.venv/setup-stamp
	if is_ours && [ -e "$stamp" ]; then
		case $(cat "$stamp") in
		"$wanted $extra" | "$wanted [dev,docs]") return 0 ;;
		# What serves the tests serves the recorder, but builds no site.
		"$wanted [dev]") [ "$extra" = '[dev,docs]' ] || return 0 ;;
		esac
	fi
	[ ! -e .venv ] || [ -w .venv ] || fail '.venv is another user'\''s: run `sudo make setup`'
	if ! is_ours; then
		say "making .venv with $PYTHON"
		"$PYTHON" -m venv --clear --system-site-packages .venv
	fi
	say "installing execaudit$extra into .venv"
	rm -f "$stamp"
	.venv/bin/python -m pip install --quiet --editable ".$extra"
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
