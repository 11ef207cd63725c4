"""Monitoring of a run: throughput, metrics, MLflow, a watchdog and early stopping."""
