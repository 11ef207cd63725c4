"""Mean waveforms of units: made, matched to voltage, merged."""
