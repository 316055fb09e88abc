"""What a person sees on stderr of a job while it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.findings.made_runs import weights_of
from tests.reports import invoke_command


def followed(write_trial: Any, ratios: dict[str, list[float]], *options: str, **written: Any) -> Any:
    """Return what the command does that follows a job of these ratios, which has ended."""
    trial = write_trial({name: weights_of(own) for name, own in ratios.items()}, **written)
    return invoke_command("check", str(trial.path), "--follow", *options)


def test_a_line_where_a_verdict_of_a_tensor_begins(write_trial: Any) -> None:
    """Tensors and workers of one step are one line; what goes on is not said again, and a name commands nothing.

    A fault is told when nothing that follows can make it a note; strict tells what fires at once.
    """
    ratios = {
        "a.\x1b[2J": [0.1, 30.0, 30.0, 0.1, 0.1, 0.1],
        "a.b": [0.1] * 4 + [0.0, 0.1],
        "c": [0.1, 0.1] + [50.0] * 4,
    }
    workers = {"workers": ("worker_0", "worker_1")}
    assert [
        "TRAIN step 3: too large: a.\\x1b[2J on all 2 workers, ratio 30 in a.\\x1b[2J",
        "TRAIN step 6: too large: c on all 2 workers, ratio 50 in c",
    ] == followed(write_trial, ratios, **workers).stderr.splitlines()
    result = followed(write_trial, ratios, "--strict", name="strict", **workers)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "TRAIN step 2: too large: a.\\x1b[2J on all 2 workers, ratio 30 in a.\\x1b[2J",
        "TRAIN step 3: too large: c on all 2 workers, ratio 50 in c",
        "TRAIN step 5: too small: a.b on all 2 workers, ratio 0 in a.b",
    ]


def test_of_a_job_that_is_held_against_a_baseline(write_trial: Any) -> None:
    """Sizes of weights have a word of their own; the rest that a good run has is none."""
    good = {"grows": [0.1] * 9, "rests": [0.1, 0.1, 0.0, *[0.1] * 6], "fades": [0.1] * 9}
    baseline = write_trial({name: weights_of(own) for name, own in good.items()}, "good").path
    run = {"grows": [0.25] * 9, "rests": [0.1, 0.1, 0.0, 0.0, *[0.1] * 5], "fades": [0.1] * 5 + [0.01] * 4}
    held = ["--baseline", str(baseline)]
    assert [
        "TRAIN step 8: too small: fades, ratio 0.01 in fades",
        "TRAIN step 9: drifted: grows, weight norm 10.3 in grows",
    ] == followed(write_trial, run, *held, "--strict").stderr.splitlines()
    assert ["TRAIN step 9: too small: fades, ratio 0.01 in fades"] == followed(
        write_trial, run, *held, name="faults"
    ).stderr.splitlines()


def test_a_run_in_which_all_begins_at_a_step_of_its_own_does_not_fill_the_log(write_trial: Any) -> None:
    ratios = {f"t{number}": [0.1] * number + [30.0] + [0.1] * (24 - number) for number in range(25)}
    lines = followed(write_trial, ratios).stderr.splitlines()
    assert [21, "More is not printed here; the report will have all of it."] == [len(lines), lines[-1]]


def test_quiet_prints_nothing_and_fail_fast_ends_where_something_fires(write_trial: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = ["--quiet", "--fail-fast", "--html", str(page)]
    result = followed(write_trial, {"a": [0.1] * 4 + [30.0, 0.1, 30.0]}, *options)
    assert (1, "", "") == (result.exit_code, result.stdout, result.stderr)
    assert "1 of 6 update-to-weight ratios is a violation" in page.read_text(encoding="utf-8")
