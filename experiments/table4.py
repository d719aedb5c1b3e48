"""Table 4 of the PMLR version: selectnet with a constant, rising or falling lambda.

    make table4 [SEEDS=0,1,2] [EPOCHS=200] [PRESET=paper|released] [JOBS=N] [DRY=1]

CIFAR-10, 4 minor classes, simple net. Three runs for each seed, the first of them Table 1's; 2 to 3
hours a run on two CPU cores. Expected (results/paper/table4.csv): 0.7424 (0.6), 0.7328 (0.4 to
0.6), 0.7109 (0.6 to 0.4). Writes results/table4.csv and table4.md.
"""

from selectnet_tf.commands.sweep import command

if __name__ == "__main__":
    command("table4")
