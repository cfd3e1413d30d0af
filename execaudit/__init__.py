"""The flight recorder for program execution on Linux."""

__version__ = "0.1.0"
