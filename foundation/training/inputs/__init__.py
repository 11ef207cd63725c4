"""What a run reads: recordings, plans of windows, batches, surrounding information."""
