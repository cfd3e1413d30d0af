"""The build hook of hatchling: puts the compiled module into wheels, and beside its source for editable ones.

Where it cannot be compiled, or with EXECAUDIT_BUILD_PURE=1, the wheel is made without it, and Python does the
same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from tools import compile_native


class NativeHook(BuildHookInterface[BuilderConfig]):
    """Compiles execaudit/native/fast.pyx, or says why not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the module to what is built."""
        try:
            if version == "editable":
                compile_native.into_checkout()
            else:
                inside = f"execaudit/native/{compile_native.file_name()}"
                build_data["force_include"][str(compile_native.compiled())] = inside
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
        except compile_native.CannotCompileError as exc:
            self._say(str(exc))
        else:
            compile_native.WHY_NOT.unlink(missing_ok=True)

    def _say(self, why: str) -> None:
        self.app.display_warning(f"execaudit is built without its compiled functions: {why}")
        try:
            compile_native.CACHE.mkdir(parents=True, exist_ok=True)
            compile_native.WHY_NOT.write_text(f"{why}\n")
        except OSError:  # nobody else reads it
            pass
