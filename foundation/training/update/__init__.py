"""One update of the weights: schedule, accumulation, determinism, and steps that do not count."""
