"""From model files, or a model in memory, to rows of the table."""
