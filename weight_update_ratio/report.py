"""What a whole trial's judgement found, and the ways in which it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .compare.rows import Rows
from .errors import TrialError, needed_by
from .findings.findings import Finding
from .findings.judgement import Judgement
from .parameters import parse_parameters
from .verdict.bounds import Bounds
from .verdict.judged_run import computed

if TYPE_CHECKING:
    import pandas


class Report(Judgement):
    """What a whole trial's judgement found; ``len`` is the number of comparisons, and iterating yields them."""

    @computed
    def findings(self) -> list[Finding]:
        """What happened, in words: faults before notes, and of these what began first."""
        from .render.words.finding import worded_findings

        return worded_findings(self, super().findings)

    def summary(self) -> pandas.DataFrame:
        """Return a row a tensor and worker, in the trial's order: median, lowest, highest, last ratio and violations.

        Ratios are float64, median, lowest and highest of those that are finite; violations int64.
        """
        with needed_by("summary()"):
            import pandas

        from .findings.summary import TensorSummary, tensor_summaries

        return pandas.DataFrame(tensor_summaries(self, self.courses), columns=list(TensorSummary._fields))

    @property
    def exit_code(self) -> int:
        """1 where it fired, else 0 where the report is complete, else 2: it could not be judged."""
        return 1 if self.fired else 0 if self.complete else 2

    def to_json(self) -> str:
        """Return the report as strict JSON: numbers that are not finite are the strings "nan", "inf" and "-inf"."""
        from .render.data import render_json

        return render_json(self)

    def to_baseline(self) -> str:
        """Return the run's ratios, with those of the baseline that it was held to, as the text of a baseline file.

        Raises:
            TrialError: The report is not complete, or a ratio is not finite.
        """
        from .verdict.good_runs import saved_baseline

        return saved_baseline(self)

    def to_text(self, width: int | None = None, verbose: bool = False) -> str:
        """Return the report as a person reads it in a terminal, without colour; without rich, as markdown.

        Args:
            width: Columns of a line; None: 100.
            verbose: Whether it has more than 40 lines where there is more to say, and a row a tensor and worker.
        """
        try:
            from .render.text import render_text
        except ImportError:  # beside a training, where NumPy alone is needed
            return self.to_markdown()
        return render_text(self, width, verbose=verbose)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page; needs the extra ``report`` (bokeh, Jinja2)."""
        from .render.page.page import render_page

        return render_page(self)

    def to_junit(self) -> str:
        """Return the report as JUnit XML: a test case a tensor, whose class is the trial and the worker."""
        from .render.junit import render_junit

        return render_junit(self)

    def to_github(self) -> str:
        """Return the report as workflow commands, which GitHub shows as annotations."""
        from .render.github import render_github

        return render_github(self)

    def to_markdown(self) -> str:
        """Return the report as GitHub's markdown, short enough for a comment."""
        from .render.markdown import render_markdown

        return render_markdown(self)

    def to_tensorboard(self, folder: str) -> None:
        """Write TensorBoard's scalars: log10_ratio, update_norm and weight_norm by module, and an overview."""
        from .render.tensorboard import write_tensorboard

        write_tensorboard(self, folder)

    def plot(self) -> Any:
        """Return the page of ``to_html`` as a notebook shows it, in a frame; needs the extra ``report``.

        Raises:
            ValueError: There is no comparison to draw.
        """
        from .render.page.page import NotebookPage

        return NotebookPage(self)

    def _repr_html_(self) -> str:
        from .render.notebook import notebook_html

        return notebook_html(self)

    def __repr__(self) -> str:
        counts = self.counts
        state = "fired" if self.fired else "complete" if self.complete else "not judged"
        return (
            f"<Report of {self.trial!r}: {state}, {counts['violations']} violations in "
            f"{counts['comparisons']} comparisons, {counts['skipped']} skipped, {counts['unreadable']} unreadable>"
        )


def unjudged_report(trial: str, parameters: dict[str, Any], problem: TrialError) -> Report:
    """Return the report of a trial that cannot even be opened."""
    return Report(trial, Rows(), Bounds(parse_parameters(**parameters)), problem=problem)
