"""What every room of the house shares: errors, checks of settings, locks, progress, credentials, Ray."""
