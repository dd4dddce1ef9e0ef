"""A table looked through in the terminal: models, tensors, gates, two models side by side."""
