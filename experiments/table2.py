"""Table 2: F1 of each class, CIFAR-10 with 4 minors, simple net; oversampling, self_paced and
selectnet.

    make table2 [SEEDS=0,1,2] [EPOCHS=200] [PRESET=paper|released] [JOBS=N] [DRY=1]

Three cells of Table 1 for each seed, read from the runs' classes.csv: nothing to train where those
are finished; otherwise 2 to 3 hours a run on two CPU cores. Expected: results/paper/table2.csv; the
minor classes 0, 2, 6, 7 go from at most 0.09 (oversampling) to 0.54-0.76 (selectnet). Writes
results/table2.csv, table2.md and figures.
"""

from selectnet_tf.commands.sweep import command

if __name__ == "__main__":
    command("table2")
