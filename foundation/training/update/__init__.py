"""One update of the weights: schedule, accumulation, determinism and skipped steps."""
