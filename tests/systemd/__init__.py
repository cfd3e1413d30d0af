"""Tests with a real systemd on this kernel: the program is installed, and its unit is not changed."""
