"""From events to what people and programs read: the record, JSON, CSV, tables, trees."""
