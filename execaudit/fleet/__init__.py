"""What asks a central database: all hosts as one history, and how they do."""
