"""Trains healthy nets in many ways, and prints what the check says of their recordings.

    python -m tests.benchmarks.healthy --keep FOLDER

Every exit code of the default check must be 0. Below the table are the findings, with the ratios that they are about.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.variants import folder_of, record, trainings
from weight_update_ratio import check_trial

COLLECTIONS = {"weights": "weights", "all": "weights,biases,vectors"}
NAMES = ("net", "optimizer", "variant", "recording", "collections")


def course(ratios: list[float], steps: list[int]) -> str:
    """Return ratios as rests and moves: "1-3: 0; 4-601: 1e-07..0.02, 0.001 to 1e-07"."""
    parts = []
    pairs = zip(ratios, steps)
    for rests, group in itertools.groupby(pairs, key=lambda pair: pair[0] == 0):
        run, numbers = zip(*group)
        moved = "0" if rests else f"{min(run):.3g}..{max(run):.3g}, {run[0]:.3g} to {run[-1]:.3g}"
        parts.append(f"{numbers[0]}-{numbers[-1]}: {moved}")
    return "; ".join(parts if len(parts) <= 12 else [*parts[:6], f"({len(parts) - 10} more)", *parts[-4:]])


def judged(folder: Path, collections: str) -> dict[str, Any]:
    """Return what the check says of a recording; a strict one exits with 1 where the rule fires."""
    report = check_trial(folder, collection_names=collections)
    table, findings = report.comparisons(), []
    for finding in report.findings:
        rows = {tensor: table[table.tensor == tensor] for tensor in finding.tensors[:3]}
        courses = {tensor: course(these.ratio.tolist(), these.step.tolist()) for tensor, these in rows.items()}
        said = {name: getattr(finding, name) for name in ("kind", "severity", "tensors", "text", "advice")}
        findings.append({**said, "courses": courses})
    return {"check": report.exit_code, "strict": 1 if report.fired_steps else report.exit_code, "findings": findings}


def print_findings(lines: list[dict[str, Any]]) -> None:
    """Print of the findings whose kind and advice differ in numbers alone the first."""
    groups = defaultdict(list)
    for line in lines:
        for finding in line["findings"]:
            key = finding["severity"], finding["kind"], re.sub("[0-9]+", "0", finding["advice"])
            groups[key].append((line, finding))
    for (severity, kind, _), group in sorted(groups.items(), key=lambda pair: (pair[0][0], -len(pair[1]))):
        line, finding = group[0]
        variants = Counter(line["variant"] for line, _ in group)
        click.echo(f"\n{severity.upper()} {kind}, {len(group)} times: {dict(variants)}")
        click.echo(f"  {finding['text']} {finding['advice']}\n  {' / '.join(line[name] for name in NAMES)}")
        for tensor, ratios in finding["courses"].items():
            click.echo(f"    {tensor}: {ratios}")


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="A folder that keeps the recordings.")
@click.option("--only", multiple=True, help="A part of 'net / optimiser / variant'; repeatable: all of them.")
def main(keep: Path | None, only: tuple[str, ...]) -> None:
    """Train healthy nets in many ways, and print what the check says of their recordings."""
    os.environ["KERAS_BACKEND"] = "torch"  # before it is imported
    lines = []
    click.echo(f"| {' | '.join(NAMES)} | check | --strict | findings |\n|{'---|' * 8}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        for plans in trainings(only):
            record(plans, folder)
            for plan, what in itertools.product(plans, COLLECTIONS):
                line = {**dict(zip(NAMES, [*plan, what])), **judged(folder_of(folder, plan), COLLECTIONS[what])}
                kinds = [f"{finding['severity']} {finding['kind']}" for finding in line["findings"]]
                click.echo(f"| {' | '.join([*plan, what])} | {line['check']} | {line['strict']} | {', '.join(kinds)} |")
                lines.append(line)
    print_findings(lines)
    codes = Counter((line["collections"], line["check"]) for line in lines)
    click.echo(f"\n(collections, exit code): {dict(codes)}")
    sys.exit(1 if any(line["check"] for line in lines) else 0)


if __name__ == "__main__":
    main()
