"""The process that records: threads, queues, sinks, gaps, limits, metrics and its own log."""
