"""Runs in MLflow, tracked through a queue on disk."""
