"""Inputs of a run: recordings, plans of windows, batches, surrounding information."""
