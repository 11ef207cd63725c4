"""Archives that run DANDI's software: addresses, listings, metadata and tokens."""
