"""Every comparison of a report as a file: JSON lines, CSV or Parquet, in the format of the file's ending.

In CSV, a name that a spreadsheet takes for a formula gets an apostrophe before it: OWASP's "CSV Injection".
"""

from __future__ import annotations

import csv
import json

from ..compare.rows import Comparison
from ..files import whole_file
from ..findings.judgement import Judgement
from ..verdict.document import finite_numbers

HISTORY_ENDINGS = (".jsonl", ".csv", ".parquet")
FORMULA = tuple("=+-@\t\r\n")  # the first characters of cells that a spreadsheet runs


def write_history(report: Judgement, path: str) -> None:
    with whole_file(path, "wb" if path.endswith(".parquet") else "w") as file:
        if path.endswith(".parquet"):
            report.comparisons().to_parquet(file, index=False)
        elif path.endswith(".csv"):
            writer = csv.writer(file)
            writer.writerow(Comparison._fields)
            writer.writerows([_cell(value) for value in row] for row in report)
        else:
            file.writelines(json.dumps(finite_numbers(row._asdict()), allow_nan=False) + "\n" for row in report)


def _cell(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
