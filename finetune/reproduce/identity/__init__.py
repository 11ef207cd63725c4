"""The table of firing modes by tokens of the intervals between spikes."""
