"""What is trained on and selected from: arrays, CIFAR, folders of pictures, tables, and how they are split."""
