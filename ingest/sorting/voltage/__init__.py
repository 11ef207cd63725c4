"""Voltage, from NWB, plain binary and whatever neo reads."""
