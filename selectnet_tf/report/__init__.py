"""Rows become what people read."""
