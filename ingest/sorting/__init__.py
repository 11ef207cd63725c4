"""Spike sorting: from voltage to units. Detection, clustering of waveforms, and the simulations that measure both."""
