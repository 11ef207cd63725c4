"""Fitting heads: which readout, which weights of the model, from how many labels."""
