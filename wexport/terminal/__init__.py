"""Text for terminals: tables, numbers, and names that cannot do harm."""
