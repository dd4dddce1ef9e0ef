"""Files: where outputs may go."""
