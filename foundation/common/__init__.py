"""Code that all packages share: errors, checks of settings, locks, progress, credentials, Ray."""
