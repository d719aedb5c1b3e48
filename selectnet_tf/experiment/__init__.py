"""A recipe becomes a row; many recipes become a table."""
