"""Parts shared by all papers' tables: results of runs, and their recordings."""
