"""What a run reports: throughput, metrics, MLflow, a watchdog and early stopping."""
