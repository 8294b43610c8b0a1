"""The board as files: Markdown, CSV, JSON, Parquet, LaTeX, a badge and a graph of tasks."""
