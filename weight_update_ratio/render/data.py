"""A report as what programs read: strict JSON, and every comparison as JSON lines, CSV or Parquet.

In CSV, a name that a spreadsheet takes for a formula gets an apostrophe before it: OWASP's "CSV Injection".
"""

from __future__ import annotations

import csv
import json

from ..compare.history import history_line
from ..compare.rows import Comparison
from ..files import whole_file
from ..findings.judgement import Judgement
from ..verdict.document import finite_numbers, run_document

HISTORY_ENDINGS = (".jsonl", ".csv", ".parquet")
FORMULA = tuple("=+-@\t\r\n")  # the first characters of cells that a spreadsheet runs


def render_json(report: Judgement) -> str:
    document = run_document(report)
    lists = {name: document.pop(name) for name in ("violations", "skipped", "unreadable")}
    findings = [finding.as_dict() for finding in report.findings]
    whole = {**document, "summary": report.ratios._asdict(), "findings": findings, **lists}
    return json.dumps(finite_numbers(whole), indent=2, allow_nan=False)


def write_history(report: Judgement, path: str) -> None:
    """Write every comparison, in the format of the file's ending."""
    with whole_file(path, "wb" if path.endswith(".parquet") else "w") as file:
        if path.endswith(".parquet"):
            report.comparisons().to_parquet(file, index=False)
        elif path.endswith(".csv"):
            writer = csv.writer(file)
            writer.writerow(Comparison._fields)
            writer.writerows([_cell(value) for value in row] for row in report)
        else:
            file.writelines(map(history_line, report))


def _cell(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
