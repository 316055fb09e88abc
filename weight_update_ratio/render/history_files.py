"""Every comparison of a report as a file: JSON lines, CSV or Parquet. Programs read these."""

from __future__ import annotations

import csv
import json
from typing import IO

from ..compare.rows import Comparison
from ..files import whole_file
from ..findings.judgement import Judgement
from ..verdict.document import finite_numbers

HISTORY_ENDINGS = (".jsonl", ".csv", ".parquet")
FORMULA = tuple("=+-@\t\r\n")  # the first characters of cells that a spreadsheet runs


def write_history(report: Judgement, path: str) -> None:
    """Write every comparison to a file, in the format of its ending: one of ``HISTORY_ENDINGS``."""
    with whole_file(path, "wb" if path.endswith(".parquet") else "w") as file:
        if path.endswith(".parquet"):
            report.comparisons().to_parquet(file, index=False)
        elif path.endswith(".csv"):
            write_csv(report, file)
        else:
            write_json_lines(report, file)


def write_json_lines(report: Judgement, file: IO[str]) -> None:
    """Write every comparison as a line of strict JSON."""
    for row in report:
        file.write(json.dumps(finite_numbers(row._asdict()), allow_nan=False) + "\n")


def write_csv(report: Judgement, file: IO[str]) -> None:
    """Write every comparison as a row of CSV with a header; floats keep their last digit.

    A name that a spreadsheet would take for a formula gets an apostrophe before it.

    Source: OWASP's "CSV Injection", for the characters and the apostrophe.
    """
    writer = csv.writer(file)
    writer.writerow(Comparison._fields)
    for row in report:
        writer.writerow("'" + cell if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row)
