"""Table 4 of the PMLR version: selectnet with a constant, rising or falling lambda.

    make table4 [SEEDS=0,1,2] [EPOCHS=200] [PRESET=paper|released] [JOBS=N] [DRY=1]

CIFAR-10, 4 minor classes, simple net. Three runs for each seed, the first of them Table 1's; 2 to 3
hours a run on two CPU cores. Expected (results/paper/table4.csv): 0.7424 (0.6), 0.7328 (0.4 to
0.6), 0.7109 (0.6 to 0.4). Writes results/table4.csv and table4.md.
"""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("sweep", ["table4", *sys.argv[1:]], __doc__))
