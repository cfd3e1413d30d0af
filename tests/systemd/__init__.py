"""A real systemd, on this kernel: the program installed, its unit as shipped."""
