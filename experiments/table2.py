"""Table 2: F1 of each class (CIFAR-10, 4 minor classes, simple net).

    make table2 [SEEDS=0,1,2] [EPOCHS=200] [PRESET=paper|released] [JOBS=N] [DRY=1]

Three runs of Table 1 for each seed: oversampling, self_paced and selectnet. Finished runs are only
read; others take 2 to 3 hours on two CPU cores. Expected (results/paper/table2.csv): F1 of the
minor classes 0, 2, 6, 7 rises from at most 0.09 (oversampling) to 0.54-0.76 (selectnet). Writes
results/table2.csv, table2.md and figures.
"""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("sweep", ["table2", *sys.argv[1:]], __doc__))
