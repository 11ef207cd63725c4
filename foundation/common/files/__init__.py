"""Files written whole, locks, results as JSON Lines, and private folders."""
