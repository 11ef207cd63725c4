"""Series and intervals of an NWB file: behaviour, sampled activity, events, trials."""
