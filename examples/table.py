"""SelectionClassifier on a table: breast cancer, 8 malignant and 100 benign rows labeled.

Prints the average precision of the rare class on held-out rows, as the mean of five splits. The
controls are the same forest without the pool, HistGradientBoosting and a balanced forest.
"""

import numpy as np
import pandas as pd
from imblearn.ensemble import BalancedRandomForestClassifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import selectnet_tf as sn

MALIGNANT, BENIGN, UNLABELED = 0, 1, -1


def pipeline(classifier):
    """Returns a pipeline for tables of numbers and texts; this table has only numbers."""
    numbers = (StandardScaler(), make_column_selector(dtype_include="number"))
    texts = (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number"))
    return make_pipeline(make_column_transformer(numbers, texts), classifier)


def main(seeds=5):
    found = {}
    for seed in range(seeds):
        x, y = load_breast_cancer(as_frame=True, return_X_y=True)
        x, x_test, y, y_test = train_test_split(x, y, test_size=0.4, stratify=y, random_state=seed)
        few = {MALIGNANT: 8, BENIGN: 100}
        x, y, pool, _ = sn.make_imbalance(x, y, sampling_strategy=few, random_state=seed)
        both = pd.concat([x, pool]), np.concatenate([y, np.full(len(pool), UNLABELED)])

        forest = RandomForestClassifier(class_weight="balanced_subsample", random_state=seed)
        boosting = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
        selection = sn.SelectionClassifier(forest)
        methods = {
            "SelectionClassifier": (selection, *both),
            "the forest, no pool": (forest, x, y),
            "HistGradientBoosting": (boosting, x, y),
            "balanced forest": (BalancedRandomForestClassifier(random_state=seed), x, y),
        }
        for name, (classifier, rows, classes) in methods.items():
            model = pipeline(classifier).fit(rows, classes)
            score = model.predict_proba(x_test)[:, list(model.classes_).index(MALIGNANT)]
            precision = average_precision_score(y_test == MALIGNANT, score)
            found.setdefault(name, []).append(precision)
    for name, values in found.items():
        print(f"{name:<20}  {np.mean(values):.3f} (std {np.std(values):.3f}, n={seeds})")


if __name__ == "__main__":
    main()
