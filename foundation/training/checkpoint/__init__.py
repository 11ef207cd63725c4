"""Writing, loading, keeping and locking checkpoints."""
