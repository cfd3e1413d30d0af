"""Records with what proves them, in one file that can be verified anywhere."""
