"""Trains healthy nets in many ways, and prints what the check says of their recordings.

    python -m tests.benchmarks.healthy --keep FOLDER

Every exit code of the default check must be 0. Where one is not, the finding stands there with its tensors' ratios.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click

COLLECTIONS = {"weights": "weights", "all": "weights,biases,vectors"}


def course(ratios: list[float], steps: list[int]) -> str:
    """Return ratios as runs of zeros and of moves: "1-3: 0; 4-601: 0.001..0.02, the last 0.003"."""
    parts, first = [], 0
    for place in range(1, len(ratios) + 1):
        if place == len(ratios) or (ratios[place] == 0) != (ratios[first] == 0):
            own = ratios[first:place]
            span = f"{steps[first]}-{steps[place - 1]}" if place - first > 1 else f"{steps[first]}"
            moved = f"{min(own):.3g}..{max(own):.3g}, from {own[0]:.3g} to {own[-1]:.3g}" if own[0] else "0"
            parts.append(f"{span}: {moved}")
            first = place
    return "; ".join(parts if len(parts) <= 12 else [*parts[:6], f"({len(parts) - 10} more)", *parts[-4:]])


def judged(folder: Path, collections: str) -> dict[str, Any]:
    """Return what the check says of a recording."""
    from weight_update_ratio import check_trial

    report = check_trial(folder, collection_names=collections)
    if "strict" in inspect.signature(check_trial).parameters:
        strict = check_trial(folder, collection_names=collections, strict=True).exit_code
    else:
        strict = 1 if report.fired_steps else report.exit_code
    table, findings = report.comparisons(), []
    for finding in report.findings:
        names = ("kind", "severity", "onset_step", "first_step", "last_step", "count", "text", "advice")
        found = {name: getattr(finding, name, None) for name in names}
        found["tensors"] = list(finding.tensors)
        found["courses"] = {}
        for tensor in [*finding.tensors[:2], finding.tensors[-1]]:
            rows = table[table.tensor == tensor]
            found["courses"][tensor] = course(rows.ratio.tolist(), rows.step.tolist())
        findings.append(found)
    problem = None if report.problem is None else str(report.problem)
    return {"exit": report.exit_code, "strict": strict, "findings": findings, "problem": problem}


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="A folder that keeps the recordings.")
@click.option(
    "--only", multiple=True, help="A part of the names of net, optimiser and variant; repeatable: all of them."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file for each judgement, JSON lines."
)
def main(keep: Path | None, only: tuple[str, ...], output: Path | None) -> None:
    """Train healthy nets in many ways, and print what the check says of their recordings."""
    os.environ.update(OMP_NUM_THREADS="1", KERAS_BACKEND="torch")  # before they are imported
    import torch

    from tests.benchmarks.healthy.runs import record, trainings

    torch.set_num_threads(1)
    wanted = list(trainings(only))
    lines, faults, codes = [], [], Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        with click.progressbar(wanted, label="Runs", file=sys.stderr) as progress:
            for plans in progress:
                record(plans, folder)
                for plan in plans:
                    for what, collections in COLLECTIONS.items():
                        said = judged(plan.folder(folder), collections)
                        accuracy = float((plan.folder(folder) / "accuracy.txt").read_text())
                        lines.append({**plan._asdict(), "collections": what, "accuracy": accuracy, **said})
    if output:
        output.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    click.echo("| net | optimiser | variant | recording | collections | check | --strict | findings |")
    click.echo("|---|---|---|---|---|---:|---:|---|")
    for line in lines:
        names = [line[name] for name in ("net", "optimizer", "variant", "recording", "collections")]
        kinds = [
            f"{found['severity'] or 'fault'}: {found['kind']} x {len(found['tensors'])}" for found in line["findings"]
        ]
        click.echo(f"| {' | '.join(names)} | {line['exit']} | {line['strict']} | {'; '.join(kinds)} |")
        codes[line["collections"], line["exit"]] += 1
        faults += [(names, line)] if line["exit"] else []
    for names, line in faults:
        click.echo(f"\nFAULT in {' / '.join(names)} (accuracy {line['accuracy']}): {line['problem'] or ''}")
        for found in line["findings"]:
            if found["severity"] != "note":
                click.echo(f"  {found['kind']}: {found['text']} {found['advice']}")
                for tensor, ratios in found["courses"].items():
                    click.echo(f"    {tensor}: {ratios}")
    told = Counter()
    for line in lines:
        told.update(
            {
                (found["kind"], found["text"], found["advice"])
                for found in line["findings"]
                if found["severity"] == "note"
            }
        )
    for (kind, text, advice), count in sorted(told.items()):
        click.echo(f"\nNOTE ({count} runs) {kind}: {text} {advice}")
    for (what, code), count in sorted(codes.items()):
        click.echo(f"\n{what}: exit code {code} in {count} of {sum(codes[key] for key in codes if key[0] == what)}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
