"""Questions to a table: the locked session over it, the library of queries, and answers as they are shown."""
