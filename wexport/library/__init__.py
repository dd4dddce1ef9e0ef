"""The library of queries: one question a SQL file, whose head comment says how to ask it and how to read its answer."""

from __future__ import annotations

from wexport.library.queries import Column, Parameter, Query, get, load, parse, view_parts

__all__ = ["Column", "Parameter", "Query", "get", "load", "parse", "view_parts"]
