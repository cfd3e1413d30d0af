"""Central databases, which have many hosts' histories: tables, connections, an owner's work."""
