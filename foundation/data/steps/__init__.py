"""Which windows each step draws, the same for any number of processes."""
