"""Custom classes of other packages and of a lab's own files, found by name."""
