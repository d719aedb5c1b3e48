"""Sweeps and scoring on a Ray cluster."""
