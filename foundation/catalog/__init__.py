"""The `foundation catalog` command: its listing, its table and its page with pictures."""
