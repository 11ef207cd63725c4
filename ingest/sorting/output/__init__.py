"""What sorting writes: NWB, Phy, recordings of the store, a report."""
