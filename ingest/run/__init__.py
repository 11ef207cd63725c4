"""Running an ingest: tasks on Ray, workers, progress and the final report."""
