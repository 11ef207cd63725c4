"""The tables of the EIT paper (arXiv 2206.06131)."""
