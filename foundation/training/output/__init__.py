"""What a run leaves: its folder, its record of what it saw, its model card."""
