"""The version of wexport."""

__version__ = "0.1.0"
