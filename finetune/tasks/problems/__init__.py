"""Labelled samples to be decoded: their windows, their features and their duplicates."""
