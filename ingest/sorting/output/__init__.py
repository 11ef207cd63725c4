"""Output of sorting: NWB, Phy, recordings of the store, a report."""
