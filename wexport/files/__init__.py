"""Bytes in and out: a source, a slice of it, archives, files beside a model, shards, and writing that is whole or not
at all.
"""
