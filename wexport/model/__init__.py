"""The nouns of a model: tensors, kinds, roles, slots, layouts, chunks. Each word is declared once."""
