"""Checkpoints: writing, loading, retention and locking."""
