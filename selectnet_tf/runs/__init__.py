"""A recipe becomes a row of results."""
