"""What is trained on and selected from: arrays, CIFAR, folders of pictures, and how they are split."""
