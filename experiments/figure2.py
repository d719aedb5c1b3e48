"""Figure 2: SelectNet's picks, round by round (CIFAR-10, 4 minor classes, simple net).

    make figure2 [SEEDS=0,1,2] [EPOCHS=200] [METHODS=self_paced,context,selectnet]
                 [PRESET=paper|released] [JOBS=N] [DRY=1]

One run of Table 1 for each seed, 2 to 3 hours on two CPU cores. Expected
(results/paper/figure2.csv): from 1,130 to 19,220 unlabeled picks that are truly minor, 4 to 883
that are not. Writes results/figure2_cifar10-4minor_simple_paper_200.png, ours over the paper's
points.
"""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("sweep", ["figure2", *sys.argv[1:]], __doc__))
