"""Spike trains, units and electrodes of an NWB file."""
