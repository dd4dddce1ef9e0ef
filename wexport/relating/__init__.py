"""Whether models are the same, related or strangers: their hidden units aligned, and what chance gives beside it."""
