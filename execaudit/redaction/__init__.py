"""Redaction: secrets in command lines are replaced by marks before anything is written."""
