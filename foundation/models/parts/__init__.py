"""Parts of EIT: attention, tokens, the unit stream's and the population stream's modules."""
