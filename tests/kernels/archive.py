"""Get packages of any Debian release from the mirrors of this machine's apt."""

from __future__ import annotations

import platform
import re
import subprocess
from typing import TYPE_CHECKING

from tests.kernels.cache import MakingFailed

if TYPE_CHECKING:
    from pathlib import Path

# The keys of all releases; each release is signed with its own.
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def sources(codename: str) -> str:
    """Returns the lines of a sources.list for a release of Debian, from this machine's own mirrors."""
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    mirrors = dict(line.split(" ", 1) for line in reversed(listed.splitlines()))
    if platform.freedesktop_os_release().get("ID") != "debian" or not {own, f"{own}-security"} <= set(
        mirrors
    ):
        raise MakingFailed(
            "this takes Debian's kernels from the mirrors of a Debian machine: its apt sources name none"
        )
    return "".join(
        f"deb [signed-by={_KEYS}] {mirrors[own + suffix]} {codename}{suffix} main\n"
        for suffix in ("", "-security")
    )


class Archive:
    """The package lists of one release, in a folder of their own. The machine's lists do not change."""

    def __init__(self, codename: str, folder: Path) -> None:
        self._codename = codename
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(sources(codename))
        self._run("apt-get", "-qq", "update")

    def kernel(self) -> str:
        """Returns the name of the package of the newest cloud kernel; each kernel has another name."""
        shown = self._run("apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64")
        depends = re.search(r"^Depends: (linux-image-\S+-cloud-amd64)\b", shown, re.MULTILINE)
        if not depends:
            raise MakingFailed(
                f"{self._codename}'s linux-image-cloud-amd64 does not say which kernel it stands for"
            )
        return depends[1]

    def unpack(self, package: str) -> Path:
        """Downloads a package and does not install it. Returns the folder with its files."""
        self._run("apt-get", "-qq", "download", package)
        (deb,) = self._folder.glob("*.deb")
        root = self._folder / "root"
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        return root

    def _run(self, *command: str) -> str:
        settings = {
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # apt's own user may not be able to enter the checkout
            "Acquire::Languages": "none",
            "APT::Update::Error-Mode": "any",
            "Dir::Cache": self._folder / "cache",
            "Dir::Etc::SourceList": self._folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State": self._folder,
            "Dir::State::Lists": self._folder / "lists",
            "Dir::State::status": self._folder / "status",
        }
        options = [f"-o{name}={value}" for name, value in settings.items()]
        done = subprocess.run(
            [*command, *options], cwd=self._folder, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise MakingFailed(
                f"cannot get packages of Debian's {self._codename}; EXECAUDIT_TEST_KERNELS can leave it out:\n"
                f"{done.stderr}"
            )
        return done.stdout
