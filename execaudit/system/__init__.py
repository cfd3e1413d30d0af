"""Services of Linux: clocks, processes, users, privileges, signals of systemd. Nothing here knows an exec."""
