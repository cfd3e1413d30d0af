"""From logs of others to events, and into a history."""
