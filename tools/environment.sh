# Sourced by the other scripts of this folder. Each of these makes Python or pip work elsewhere than in
# .venv, or half. Where packages come from (index, proxy, certificates) is the user's to say, and stays.
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONSTARTUP PYTHONSAFEPATH \
	PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_REQUIRE_HASHES \
	PIP_NO_DEPS PIP_DRY_RUN PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_NO_BUILD_ISOLATION
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# BCC belongs to the distribution's Python; another one that is first on PATH (pyenv) has none.
# shellcheck disable=SC2034  # for who sources this
PYTHON=/usr/bin/python3
