"""What is larger than one process: pools of any size."""
