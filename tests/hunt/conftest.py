"""Hunting needs a newer Python than the rest."""

from __future__ import annotations

import sys

# pySigma cannot be installed before 3.11, and nothing here can be imported without it.
collect_ignore_glob = ["test_*.py"] if sys.version_info < (3, 11) else []
