"""Classifiers and how they are optimized."""
