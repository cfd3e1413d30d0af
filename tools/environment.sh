# Sourced by the other scripts of this folder. Each of these variables would make Python or pip work outside
# of .venv, or only half. The user's settings of where packages come from (index, proxy, certificates) stay.
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONSTARTUP PYTHONSAFEPATH \
	PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_REQUIRE_HASHES \
	PIP_NO_DEPS PIP_DRY_RUN PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_NO_BUILD_ISOLATION
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Only the distribution's Python has BCC; another one may be first on PATH (pyenv).
# shellcheck disable=SC2034  # the scripts that source this use it
PYTHON=/usr/bin/python3

# pip runs hatch_build.py, which compiles execaudit/native where it can, or leaves its reason in this file.
native_files='hatch_build.py tools/compile_native.py execaudit/native/fast.pyx bpf/execaudit.h'
why_not_compiled=.cache/native/why-not

# Prints, in one line, what decides whether and how it is compiled.
what_compiles() {
	echo "${EXECAUDIT_BUILD_PURE-} ${CC-} ${CFLAGS-} ${LDFLAGS-}" \
		"$(command -v cc || :)" "$(command -v gcc || :)" /usr/include/python3*/Python.h
}

say_if_not_compiled() {
	[ ! -s "$why_not_compiled" ] || say "Python does all, slower; not compiled: $(cat "$why_not_compiled")"
}
