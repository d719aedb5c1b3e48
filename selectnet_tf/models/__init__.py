"""The classifiers and how they are optimized."""
