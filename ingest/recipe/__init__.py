"""Recipes: the meaning of the columns, tables and series of an NWB file."""
