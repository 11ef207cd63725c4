"""Simulated voltage whose spikes are known."""
