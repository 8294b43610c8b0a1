"""Execution: trials become records, here or in worker processes."""
