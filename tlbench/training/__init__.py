"""Training: the context of a strategy, the one loop, and what it keeps."""
