"""Discovery: finding plugins, loading each in its own ``try``, and checking what they offer."""
