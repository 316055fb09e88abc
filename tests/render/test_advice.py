"""The cause that a trial itself shows: the type and the modes that its weights were saved in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weight_update_ratio import check_trial

STEADY = [np.full(4, 1.0) * (1 + 1e-4) ** step for step in range(4)]  # which float16 cannot hold
RESTING = [np.ones(3)] * 6


@pytest.mark.parametrize(
    ("tensors", "options", "kind", "words", "never"),
    [
        ({"a": STEADY, "b": STEADY}, {"dtype": np.float16}, "nothing_moved", "float16", "EVAL"),
        ({"a": STEADY, "b": [own.astype(np.float16) for own in STEADY]}, {}, "frozen", "float16", "EVAL"),
        ({"a": RESTING, "b": RESTING}, {"modes": "EVAL"}, "nothing_moved", "EVAL", "learning rate"),
        ({"a": RESTING, "b": RESTING}, {"modes": ["EVAL", "PREDICT"]}, "nothing_moved", "EVAL", "learning rate"),
        ({"a": RESTING, "b": RESTING}, {"modes": ["TRAIN", "EVAL"]}, "nothing_moved", "learning rate", "EVAL"),
    ],
)
def test_weights_rest_for_the_cause_that_the_trial_shows(
    write_trial: Any, tensors: Any, options: Any, kind: str, words: str, never: str
) -> None:
    (finding,) = check_trial(write_trial(tensors, **options).path).findings
    assert kind == finding.kind
    assert words in finding.advice
    assert never not in finding.text + finding.advice
