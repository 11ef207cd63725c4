"""Local files and folders."""
