"""Run detection rules over the history, and over what arrives."""
