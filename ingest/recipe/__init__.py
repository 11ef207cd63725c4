"""Recipes: which column, table or series of an NWB file means what."""
