"""How recordings become visible in a store, are verified and are cleaned up."""
