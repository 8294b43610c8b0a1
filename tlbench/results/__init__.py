"""Results: the run folder with its records, and the conditions of measurement."""
