"""The full screen of `execaudit top`."""
