"""What seals a history, and what proves that a sealed one is unchanged."""
