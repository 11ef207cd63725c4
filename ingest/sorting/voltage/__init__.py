"""Voltage, from NWB, plain binary and all formats that neo reads."""
