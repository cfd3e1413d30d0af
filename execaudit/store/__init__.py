"""From events to rows: write, index, migrate and prune the history."""
