"""The table itself: its columns, how rows become Arrow, and files that are written and read."""
