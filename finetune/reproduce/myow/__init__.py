"""The tables of the MYOW paper (arXiv 2102.10106)."""
