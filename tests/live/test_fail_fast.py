"""Jobs that are followed until a fault is announced: a healthy one goes on to its end, a sick one is ended in time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pytest

import weight_update_ratio.follow as follow_module
from tests.findings.made_runs import INF, LARGE, NAN, OK, SMALL, accumulated, at_steps, cosine, faded, linear
from weight_update_ratio import Report, TrialRecorder, follow_trial

STEPS = 60
BEFORE = 20  # comparisons before something begins
FINE, STILL = [OK] * STEPS, [0.0] * STEPS
GOOD = FINE[:BEFORE]


class Case(NamedTuple):
    """A job: the tensors' ratios from step 1 on, and the step with which following ends, or None.

    A tensor whose name ends in ".B" begins with weights of zero; one whose name begins with "base." is not trained.
    ``culprits`` are the tensors that are announced. With ``scale`` the job is judged against a baseline, whose weights
    are smaller by this factor.
    """

    courses: Mapping[str, Sequence[float]]
    end: int | None = None
    culprits: tuple[str, ...] = ("h4",)
    scale: float | None = None


class Weights(np.ndarray):  # type: ignore[type-arg]
    requires_grad = True


def written_steps(folder: Path, courses: Mapping[str, Sequence[float]], scale: float = 1.0) -> Iterator[None]:
    """Write a step whenever the next one is asked for."""
    weights = {name: np.full((1, 3), 0.0 if name.endswith(".B") else scale).view(Weights) for name in courses}
    for name in weights:
        weights[name].requires_grad = not name.startswith("base.")
    with TrialRecorder(folder) as recorder:
        for ratios in [None, *zip(*courses.values())]:
            for name, ratio in zip(courses, ratios or ()):
                factor = 1 + ratio if np.isfinite(ratio) else ratio
                weights[name][:] = 1 if ratio and not weights[name].any() else weights[name] * factor
            recorder.step(weights)
            yield


def fine(**others: Sequence[float]) -> dict[str, Sequence[float]]:
    """Return three tensors that train well, and others."""
    return alike(FINE, **others)


def alike(course: Sequence[float], **others: Sequence[float]) -> dict[str, Sequence[float]]:
    """Return three tensors of one course on three levels, and others."""
    return {"h1": course, "h2": [2 * ratio for ratio in course], "h3": [ratio / 3 for ratio in course], **others}


def warm(course: Sequence[float]) -> list[float]:
    """Return a course with a warm-up of ten updates from a learning rate of exactly 0."""
    return [ratio * min(1.0, update / 10) for update, ratio in enumerate(course)]


RESTS = [0.0, *FINE[1:]]  # at the first update
WARM = warm(FINE)
FALLING = [*GOOD, *faded(OK, 1e-13, STEPS - BEFORE)]
BELOW = next(step for step, ratio in enumerate(FALLING, 1) if ratio < 1e-8)
HEALTHY = {
    "plain": Case(fine()),
    "warm-up from 0": Case(alike(WARM)),
    "adapters": Case({"base.h1": STILL, "h1.A": RESTS, "h1.B": FINE, "head": FINE}),
    "adapters, warm-up from 0": Case(
        {"base.h1": STILL, "h1.A": [0.0, 0.0, *WARM[2:]], "h1.B": WARM, "base.h2": STILL, "head": WARM}
    ),
    "adapters alone": Case({"h1.A": RESTS, "h2.A": RESTS, "h1.B": FINE, "h2.B": FINE}),
    "a zero-initialised output layer": Case({"h1": RESTS, "h2": RESTS, "head.B": FINE}),
    "a base recorded as not trained": Case({"base.h1": STILL, "base.h2": STILL, "base.h3": STILL, "head": FINE}),
    **{
        f"accumulation of {every}, from batch {phase} on": Case(alike(accumulated(STEPS, every, phase)))
        for every in (4, 8)
        for phase in (0, 1, every - 1)
    },
    "accumulation of 8 and a warm-up from 0": Case(alike([*STILL[:15], *accumulated(STEPS, 8)[15:]])),
    "a scaler that skips the first three": Case(alike(at_steps(STEPS, 0.0, 1, 2, 3))),
    "a scaler that skips the first three and single ones": Case(alike(at_steps(STEPS, 0.0, 1, 2, 3, 9, 30, 41, STEPS))),
    "a cosine that ends at 0": Case(alike(cosine(STEPS).tolist())),
    "a cosine that is too small before it ends at 0": Case(alike([*cosine(STEPS)[:-2].tolist(), SMALL, 0.0])),
    "warm-up from 0 and a cosine that ends at 0": Case(alike(warm(cosine(STEPS)))),
    "against a baseline": Case(fine(h4=[1.1 * OK] * STEPS), scale=1.0),
    "a line that ends with three rests": Case(alike(linear(STEPS, 3).tolist())),
}
SICK = {
    "not_finite": Case(fine(h4=[*GOOD, NAN, *GOOD]), BEFORE + 1),
    "infinite": Case(fine(h4=[*GOOD, INF, *GOOD]), BEFORE + 1),
    "exploded": Case(fine(h4=[*GOOD, *faded(2 * OK, 5, 8), *[NAN] * 9]), BEFORE + 9),
    "too_large": Case(fine(h4=[*GOOD, *[LARGE] * 9]), BEFORE + 4),
    "too_large from the first comparison on": Case(fine(h4=[LARGE] * 9), 4),
    "spike of 1": Case(fine(h4=at_steps(STEPS, LARGE, BEFORE)), BEFORE + 1),
    "spike of 3": Case(fine(h4=at_steps(STEPS, LARGE, BEFORE, BEFORE + 1, BEFORE + 2)), BEFORE + 3),
    "frozen": Case(fine(h4=STILL), 10),
    "not_yet": Case(fine(h4=[*STILL[:15], *FINE[15:]]), 10),
    "nothing_moved": Case(alike(STILL), 20, ("h1", "h2", "h3")),
    "stopped": Case(fine(h4=[*GOOD, *STILL[BEFORE:]]), BEFORE + 10),
    "all stopped": Case(alike([*GOOD, *STILL[BEFORE:]]), BEFORE + 10, ("h1", "h2", "h3")),
    "stopped after an accumulation of 8": Case(
        alike(accumulated(STEPS, 8), h4=[*accumulated(16, 8), *STILL[16:]]), 16 + 15
    ),
    "vanishing": Case(fine(h4=FALLING), BELOW + 9),
    "too_small": Case(fine(h4=[SMALL] * STEPS), 4),
    "too_small after a while": Case(fine(h4=[*GOOD, *[SMALL] * 9]), BEFORE + 4),
    "drifted": Case(fine(h4=FINE), 4, ("h1", "h2", "h3", "h4"), scale=3.0),
    "too_small against a baseline": Case(fine(h4=[OK / 100] * STEPS), 4, scale=1.0),
}


@pytest.mark.parametrize("case", [*HEALTHY.values(), *SICK.values()], ids=[*HEALTHY, *SICK])
def test_fail_fast_ends_what_is_sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """The job writes a step whenever the follower sleeps."""
    culprits: set[str] = set()
    options = {}
    if case.scale is not None:
        options["baseline"] = tmp_path / "good"
        list(written_steps(tmp_path / "good", fine(h4=FINE)))

    def watch(report: Report, firing: Sequence[Any]) -> bool:
        culprits.update(row.tensor for row in firing)
        return bool(firing)

    job = written_steps(tmp_path / "trial", case.courses, case.scale or 1.0)
    monkeypatch.setattr(follow_module.time, "sleep", lambda seconds: next(job, None))
    with contextlib.closing(job):
        report = follow_trial(tmp_path / "trial", watch=watch, **options)
    last = report.comparisons().step.max()
    if case.end is None:
        assert (set(), STEPS, 0) == (culprits, last, report.exit_code), report.to_text(120)
    else:
        assert (set(case.culprits), case.end, 1) == (culprits, last, report.exit_code), report.to_text(120)
