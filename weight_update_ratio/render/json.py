"""A Report as JSON, and its comparisons as JSON lines, CSV or Parquet: what programs read."""

from __future__ import annotations

import csv
import json
from typing import IO

from ..judge.history import History, strict


def render_json(report: History) -> str:
    """Return the report as strict JSON."""
    return json.dumps(strict(report.to_dict()), indent=2, allow_nan=False)


def write_json_lines(report: History, file: IO[str]) -> None:
    """Write every comparison as a line of strict JSON."""
    for row in report:
        file.write(json.dumps(strict(row._asdict()), allow_nan=False) + "\n")


def write_csv(report: History, file: IO[str]) -> None:
    """Write every comparison as a row of CSV with a header; floats to their last digit."""
    from ..judge.comparison import Comparison

    writer = csv.writer(file)
    writer.writerow(Comparison._fields)
    writer.writerows(report)
