"""Table 3: test accuracy on long-tailed CIFAR (imbalance 100, ResNet-32).

    make table3 [SEEDS=0,1,2] [EPOCHS=200] [DATASETS=cifar10-lt] [PRESET=paper|released]
                [JOBS=N] [DRY=1]

Four runs for each seed. class_balanced trains by the recipe of Cui et al. 2019 (--training=cui), on
12,406 and 10,847 images; selectnet by the paper's, on up to 50,000. On two CPU cores an epoch takes
one to four minutes, a run 3 to 12 hours. Expected (results/paper/table3.csv): 0.7457 and 0.7576 on
CIFAR-10, 0.3960 and 0.4056 on CIFAR-100. Writes results/table3.csv, table3.md and figures.
"""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("sweep", ["table3", *sys.argv[1:]], __doc__))
