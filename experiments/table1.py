"""Table 1: test accuracy of five methods on imbalanced CIFAR, in six columns.

    make table1 [SEEDS=0,1,2] [EPOCHS=200] [DATASETS=cifar10-4minor] [ARCHS=simple,resnet20]
                [METHODS=context,selectnet] [PRESET=paper|released] [JOBS=N] [DRY=1]

30 runs for each seed, the cheapest column first: 90 by default. `make table1 DRY=1` lists finished
runs and estimates the time of the others from this machine's finished runs. By
results/benchmark.csv a run of the simple net takes 2 to 3 hours on two CPU cores, of ResNet-20
twice and of ResNet-56 six times that: these two are for GPUs. Expected
(results/paper/table1.csv): 0.5617 (imbalanced) to 0.7424 (selectnet) in the simple net's column.
Writes results/table1.csv, table1.md and figures.
"""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("sweep", ["table1", *sys.argv[1:]], __doc__))
