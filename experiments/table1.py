"""Table 1: test accuracy of the five methods on imbalanced CIFAR, six columns of data set and
network.

    make table1 [SEEDS=0,1,2] [EPOCHS=200] [DATASETS=cifar10-4minor] [ARCHS=simple,resnet20]
    [METHODS=context,selectnet]
                [PRESET=paper|released] [JOBS=N] [DRY=1]

30 cells for each seed, the cheapest column first: 90 runs by default. `make table1 DRY=1` says what
is done and how long the rest takes at the speed of this machine's finished runs. By the speeds in
results/benchmark.csv a run of the simple net's column is 2 to 3 hours on two CPU cores, ResNet-20's
twice and ResNet-56's six times that: those are for GPUs. Expected: results/paper/table1.csv,
0.5617 (imbalanced) to 0.7424 (selectnet) in the simple net's column. Writes results/table1.csv,
table1.md and figures.
"""

from selectnet_tf.commands.sweep import command

if __name__ == "__main__":
    command("table1")
