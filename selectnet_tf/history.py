"""What each selection did: the Rounds of a run, and how they are kept in its state."""

from typing import Any, NamedTuple

import numpy as np

from selectnet_tf.minors import says


class Round(NamedTuple):
    """One selection: what was added, and as what.

    epoch: epochs trained before it. candidates: size of D'.
    index, predicted, target: [k] int32: positions in the pool, predicted classes (of what accumulates: at its last pick), and
        the classes trained on from now.
    score, loss: [k] float32: the selector's output, or the predicted class's probability under a rule without one; nats.
    lowest, median, highest: of the score over D'; NaN where D' is empty.
    seconds: what scoring, selecting and swapping took.
    unpicked, fading: [j] int32: minor classes that nothing unlabeled, or too few, was picked as, see minors.fading.
    weight: [k] float32: what a rule that gives weights gave each pick; empty under one that gives a mask.
    """

    epoch: int
    candidates: int
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    predicted: np.ndarray
    target: np.ndarray
    score: np.ndarray
    loss: np.ndarray
    lowest: float
    median: float
    highest: float
    seconds: float
    unpicked: np.ndarray = np.zeros(0, np.int32)
    weight: np.ndarray = np.zeros(0, np.float32)
    fading: np.ndarray = np.zeros(0, np.int32)

    @property
    def warning(self) -> str:
        """'' or why this selection should not be trusted."""
        if not self.candidates:
            return "nothing is predicted as a minor class"
        collapsed = f"the scores have collapsed to {self.median:.3f}" if self.highest - self.lowest < 0.01 else ""
        lost = says(list(self.unpicked), list(self.fading)) if len(self.index) else "" if collapsed else "nothing was picked"
        return "; ".join(text for text in (collapsed, lost) if text)

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: {self.candidates:,} predicted as minor, {len(self.index):,} added"
        return f"{text} (warning: {self.warning})" if self.warning else text


def state_of(history: list[Round]) -> dict[str, np.ndarray]:
    """The Rounds as arrays, for a state file."""
    return {f"round_{i}_{k}": np.asarray(v) for i, round in enumerate(history) for k, v in round._asdict().items()}


def of_state(state: dict[str, np.ndarray]) -> list[Round]:
    """The Rounds that `state_of` gave."""
    history: list[Round] = []
    while found := part(state, f"round_{len(history)}_"):
        fields: dict[str, Any] = {k: v if v.ndim else v.item() for k, v in found.items()}
        history.append(Round(**fields))
    return history


def part(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """What stands under `prefix` in a state, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
