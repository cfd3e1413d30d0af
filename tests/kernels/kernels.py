"""The kernels: each release of Debian's, with the initramfs that boots it."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.kernels.archive import Archive
from tests.kernels.cache import kept

SERIES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
"""The releases of Debian whose kernels are tried, by the kernel's own number."""
# What the live tests make the kernel do is in modules: mounts of an overlay, and formats of programs.
_MODULES = ("virtio_pci", "virtio_blk", "ext4", "overlay", "binfmt_misc")
_INIT = Path(__file__).with_name("init.sh")
_BUSYBOX = Path("/bin/busybox")


class Kernel(NamedTuple):
    """What QEMU boots."""

    image: Path
    initramfs: Path
    release: str
    """What `uname -r` says in the guest."""


def kernel(series: str) -> Kernel:
    """Returns the newest kernel of a series at the time when it was first asked for."""
    inputs = (SERIES[series], _INIT.read_bytes())
    folder = kept(f"linux-{series}", inputs, lambda folder, scratch: _make(SERIES[series], folder, scratch))
    return Kernel(folder / "vmlinuz", folder / "initramfs", (folder / "release").read_text())


def _make(codename: str, folder: Path, scratch: Path) -> None:
    archive = Archive(codename, scratch)
    package = archive.kernel()
    root = archive.unpack(package)
    release = package.removeprefix("linux-image-")
    shutil.copy(root / f"boot/vmlinuz-{release}", folder / "vmlinuz")
    _pack_initramfs(_initramfs(root, release, scratch / "initramfs"), folder / "initramfs")
    (folder / "release").write_text(release)


def _initramfs(root: Path, release: str, folder: Path) -> Path:
    """Returns a folder with busybox, the modules in the order in which they load, and `init`."""
    for name in ("bin", "modules", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy(_INIT, folder / "init")
    (folder / "init").chmod(0o755)
    shutil.copy(_BUSYBOX, folder / "bin/busybox")
    for number, module in enumerate(_modules(root, release)):
        content = lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()
        (folder / f"modules/{number:02}-{module.name.removesuffix('.xz')}").write_bytes(content)
    return folder


def _modules(root: Path, release: str) -> list[Path]:
    """Returns the modules and those that they need, which come first; what is built in has none."""
    # Where Debian 13 has them.
    top = root / "usr" if (root / "usr/lib/modules").exists() else root
    subprocess.run(["depmod", "-b", top, release], check=True)
    wanted = ["modprobe", "-d", str(top), "-S", release, "--show-depends", "--all", *_MODULES]
    shown = subprocess.run(wanted, check=True, capture_output=True, text=True).stdout
    return [Path(line.split()[1]) for line in dict.fromkeys(shown.splitlines()) if line.startswith("insmod")]


def _pack_initramfs(folder: Path, to: Path) -> None:
    """Not compressed: to expand it takes longer than to read it when the processor is emulated."""
    names = "\0".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    with to.open("wb") as out:
        subprocess.run(
            ["cpio", "--null", "--create", "--format=newc", "--quiet", "--owner=0:0"],
            cwd=folder, input=names.encode(), stdout=out, check=True,
        )  # fmt: skip
