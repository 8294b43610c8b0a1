"""Parameters: the fields of a frozen dataclass are the YAML schema of its plugin."""
