"""What a user without privileges tries against the installed service, to stop it, blind it or fool it."""
