"""Data: domains on disk, splits, subsets and what a backbone sees of them."""
