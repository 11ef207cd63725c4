"""Validation on held-out recordings during training."""
