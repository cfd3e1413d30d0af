"""What ships a host's history to a central database, each exec once."""
