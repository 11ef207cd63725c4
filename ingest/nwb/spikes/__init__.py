"""Spike trains of an NWB file, and the units and electrodes that they belong to."""
