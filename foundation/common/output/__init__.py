"""Output for people: texts, tables, pages, pictures and progress."""
