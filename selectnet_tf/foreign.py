"""Foreign: a rule around another one, that leaves out what is like nothing labeled of its class."""

import numpy as np

from selectnet_tf.rules import Around, Rule, Scores


class Foreign(Around):
    """Of what another rule picks from the pool, nothing stays that is foreign to the class that it is predicted as.

    A pick is foreign where it lies farther, in the features, from the nearest labeled image of that class than a `share` of these
    lie from the nearest other one of them. A class with one labeled image has no such distances, and keeps everything.

    Args:
        rule: what picks, any callable from Scores to a mask.
        labels: [n] classes, -1 where unlabeled: the Pool's.
        share: above 0 and at most 1; at 0.5, half of the labeled images would be foreign themselves.

    Attributes:
        left_out: {place in the pool: (class, distance, limit)} of all rounds, each as it was last left out.
        count: how many the last round left out.
        rule: the rule inside. What else is asked of a Foreign (threshold, output, ...) is the inner rule's.
    """

    features = True  # of Scores

    def __init__(self, rule: Rule, labels: np.ndarray, share: float = 0.99) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}, but has to be above 0 and at most 1")
        super().__init__(rule)
        self.labels, self.share = labels, share
        self.left_out: dict[int, tuple[int, float, float]] = {}
        self.count = 0

    def __call__(self, scores: Scores) -> np.ndarray:
        assert scores.features is not None  # `features` asks for them
        mask = self._picked(scores)
        predicted, picked = scores.probs.argmax(1), scores.candidate & ~scores.labeled & (mask > 0)
        self.count = 0
        for c in np.unique(predicted[picked]):
            places = np.flatnonzero(picked & (predicted == c))
            far, limit = distances(scores.features[self.labels == c], scores.features[places], self.share)
            for i in np.flatnonzero(far > limit):
                mask[places[i]] = 0
                self.left_out[int(places[i])] = int(c), float(far[i]), limit
                self.count += 1
        return mask

    def reset(self) -> None:
        """Forgets what was left out, for a new run."""
        self.left_out, self.count = {}, 0
        getattr(self.rule, "reset", lambda: None)()

    def get_state(self) -> dict[str, np.ndarray]:
        inner = self.rule.get_state() if hasattr(self.rule, "get_state") else {}
        return {**inner, "foreign": np.array([(place, *found) for place, found in self.left_out.items()], np.float64).reshape(-1, 4)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        if "foreign" not in state:
            raise ValueError("its rule is no Foreign, this run's is one")
        self.left_out = {int(place): (int(c), float(far), float(limit)) for place, c, far, limit in state["foreign"]}
        if hasattr(self.rule, "set_state"):
            self.rule.set_state({k: v for k, v in state.items() if k != "foreign"})


def distances(own: np.ndarray, others: np.ndarray, share: float) -> tuple[np.ndarray, float]:
    """(how far each of `others` [k, d] lies from the nearest of a class's `own` [n, d], the limit that `share` sets)."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1).fit(own)
    limit = np.quantile(nearest.kneighbors()[0], share) if len(own) > 1 else np.inf  # without an argument: none is its own neighbor
    return nearest.kneighbors(others)[0][:, 0], float(limit)
