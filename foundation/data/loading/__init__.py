"""Batches of consecutive steps, prepared ahead in threads or processes."""
