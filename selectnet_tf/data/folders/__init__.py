"""Folders of images as the data of a run."""
