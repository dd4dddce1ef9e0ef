"""Asking a query of the library: its parameters, the user's metrics, and answers as they are printed."""
