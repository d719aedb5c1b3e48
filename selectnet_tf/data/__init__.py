"""The data of a run: labeled set, pool and test set."""
