"""From voltage to spikes: filters, detection, neighbourhoods of channels, windows around peaks."""
