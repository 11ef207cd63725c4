"""The table of firing modes of the NeurPIR paper (arXiv 2502.10425)."""
