"""Archives that run the DANDI software: addresses, listings, metadata and tokens."""
