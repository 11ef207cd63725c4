"""Outputs of a run: its folder, the record of its training data, its model card."""
