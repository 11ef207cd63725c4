"""What every paper's table shares: results of runs, and the recordings they are made of."""
