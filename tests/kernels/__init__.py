"""Debian's kernels in virtual machines: the live tests on each, `sudo make test-kernels`.

The guests are emulated (QEMU's TCG), so the host need have no virtualisation, and nothing is
said of speed. Each module says what it owns; `test_live` is what it is all for.
"""
