"""Two model files compared value by value: what the child process of `wexport diff` does."""
