"""The SQLite file that writer and reader share: its tables, revision, codes, locks and packed columns."""
