"""Trains healthy nets in many ways, and prints what the check says of their recordings.

    python -m tests.benchmarks.healthy --keep FOLDER

Every exit code of the default check must be 0. Below the table stands what is said, with ratios that it is said of.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click

COLLECTIONS = {"weights": "weights", "all": "weights,biases,vectors"}
NAMES = ("net", "optimizer", "variant", "recording", "collections")


def course(ratios: list[float], steps: list[int]) -> str:
    """Return ratios as rests and moves: "1-3: 0; 4-601: 1e-07..0.02, 0.001 to 1e-07"."""
    edges = [place for place in range(1, len(ratios)) if (ratios[place] == 0) != (ratios[place - 1] == 0)]
    parts = []
    for first, end in zip([0, *edges], [*edges, len(ratios)]):
        own = ratios[first:end]
        moved = f"{min(own):.3g}..{max(own):.3g}, {own[0]:.3g} to {own[-1]:.3g}" if own[0] else "0"
        parts.append(f"{steps[first]}-{steps[end - 1]}: {moved}")
    return "; ".join(parts if len(parts) <= 12 else [*parts[:6], f"({len(parts) - 10} more)", *parts[-4:]])


def judged(folder: Path, collections: str) -> dict[str, Any]:
    """Return what the check says of a recording; a strict one exits with 1 where the rule fires."""
    from weight_update_ratio import check_trial

    report = check_trial(folder, collection_names=collections)
    table, findings = report.comparisons(), []
    for finding in report.findings:
        found = {name: getattr(finding, name) for name in ("kind", "severity", "tensors", "text", "advice")}
        own = {tensor: table[table.tensor == tensor] for tensor in finding.tensors[:3]}
        found["courses"] = {tensor: course(rows.ratio.tolist(), rows.step.tolist()) for tensor, rows in own.items()}
        findings.append(found)
    return {"check": report.exit_code, "strict": 1 if report.fired_steps else report.exit_code, "findings": findings}


def print_findings(lines: list[dict[str, Any]]) -> None:
    """Print findings, of those with the same kind and advice, but for numbers, the first."""
    groups: dict[tuple[str, ...], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for line in lines:
        for found in line["findings"]:
            key = found["severity"], found["kind"], re.sub("[0-9]+", "0", found["advice"])
            groups.setdefault(key, []).append((line, found))
    for (severity, kind, _), group in sorted(groups.items(), key=lambda pair: (pair[0][0], -len(pair[1]))):
        line, found = group[0]
        where = Counter(own["variant"] for own, _ in group)
        click.echo(f"\n{severity.upper()} {kind}, {len(group)} times: {dict(where)}")
        click.echo(f"  {found['text']} {found['advice']}\n  {' / '.join(line[name] for name in NAMES)}")
        for tensor, ratios in found["courses"].items():
            click.echo(f"    {tensor}: {ratios}")


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="A folder that keeps the recordings.")
@click.option("--only", multiple=True, help="A part of 'net / optimiser / variant'; repeatable: all of them.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file for each judgement, JSON lines."
)
def main(keep: Path | None, only: tuple[str, ...], output: Path | None) -> None:
    """Train healthy nets in many ways, and print what the check says of their recordings."""
    os.environ.update(OMP_NUM_THREADS="1", KERAS_BACKEND="torch")  # before they are imported
    from tests.benchmarks.healthy.runs import folder_of, record, trainings

    lines = []
    click.echo(f"| {' | '.join(NAMES)} | check | --strict | findings |\n|{'---|' * 8}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        for plans in trainings(only):
            record(plans, folder)
            for plan, what in itertools.product(plans, COLLECTIONS):
                line = {**dict(zip(NAMES, [*plan, what])), **judged(folder_of(folder, plan), COLLECTIONS[what])}
                kinds = [f"{found['severity']} {found['kind']}" for found in line["findings"]]
                click.echo(f"| {' | '.join([*plan, what])} | {line['check']} | {line['strict']} | {', '.join(kinds)} |")
                lines.append(line)
    if output:
        output.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    print_findings(lines)
    codes = Counter((line["collections"], line["check"]) for line in lines)
    click.echo(f"\n(collections, exit code): {dict(codes)}")
    sys.exit(1 if any(line["check"] for line in lines) else 0)


if __name__ == "__main__":
    main()
