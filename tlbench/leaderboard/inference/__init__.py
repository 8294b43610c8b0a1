"""Intervals, ranks and tests: what may be said of the pairs that were measured, and of others like them."""
