"""Labels in a store: of units, of moments, of trials."""
