"""The table of firing modes from interspike-interval tokens."""
