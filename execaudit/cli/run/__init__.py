"""What the commands do. Their options stand one folder above: `--help` and completion import only these."""
