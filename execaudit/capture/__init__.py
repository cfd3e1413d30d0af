"""From the kernel to events: load and attach the probe, read its ring, decode and assemble."""
