"""A central database for the histories of many hosts: ship there, and answer from there."""
