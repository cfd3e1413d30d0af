"""From rows to events: open the history, filter, find, walk the lineage, count."""
