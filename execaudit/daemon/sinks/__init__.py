"""Where finished events go: the database, the JSON log, the terminal."""
