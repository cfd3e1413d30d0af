"""How a run of an import is told from one of a recorder. Pure."""

VERSION_BEGINNING = "import "
"""The column `version` of such a run begins so."""
IS_IMPORT = f"version GLOB '{VERSION_BEGINNING}*'"
"""SQL that says whether a row of `run` is one."""
