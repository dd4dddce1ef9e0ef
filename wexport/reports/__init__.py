"""The report's page: its parts, its template, its style and its one script."""
