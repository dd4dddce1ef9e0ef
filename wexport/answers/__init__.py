"""What every result is beside itself: a page in a notebook, and a table of pandas, polars or Arrow."""
