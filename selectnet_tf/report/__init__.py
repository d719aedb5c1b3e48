"""Rows become what people read: the comparison with the paper, tables, figures, pages."""
