"""Write events for people and programs: the record, JSON, CSV, tables and trees."""
