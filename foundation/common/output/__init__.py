"""What people read: texts, tables, pages, pictures and progress."""
