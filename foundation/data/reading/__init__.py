"""Windows of stored recordings as batches, through a cache of decoded blocks."""
