"""Pieces that several objectives share: projectors, EMA, mining, gathering over processes."""
