"""The findings of a whole trial, with what a person wants to know of them and the ways in which they are shown."""

from __future__ import annotations

from typing import Any

from .judge.history import History


class Report(History):
    """What a whole trial's judgement found, and the ways in which it is shown."""

    @property
    def exit_code(self) -> int:
        """1 where the rule fired, else 0 where the report is complete, else 2: it could not be judged."""
        return 1 if self.fired else 0 if self.complete else 2

    def to_json(self) -> str:
        """Return the report as strict JSON: numbers that are not finite are the strings "nan", "inf" and "-inf"."""
        from .render.json import render_json

        return render_json(self)

    def to_text(self, width: int | None = None) -> str:
        """Return the report as a person reads it in a terminal, without colour; ``width`` in characters."""
        from .render.text import render_text

        return render_text(self, width)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page; needs the extra ``report`` (bokeh)."""
        from .render.page.document import render_html

        return render_html(self)

    def to_junit(self) -> str:
        """Return the report as JUnit XML: a test case a tensor."""
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
        """Write the comparisons as TensorBoard's scalars log10_ratio, update_norm and weight_norm, by tensor."""
        from .render.tensorboard import write_tensorboard

        write_tensorboard(self, folder)

    def plot(self) -> Any:
        """Return the interactive chart, a bokeh layout: ``bokeh.io.show(report.plot())``; needs the extra ``report``.

        Raises:
            ValueError: There is no comparison to draw.
        """
        from .render.page.chart import report_chart

        return report_chart(self)

    def _repr_html_(self) -> str:
        """Return the verdict and the grouped violations, as a notebook shows them."""
        from .render.html import report_html

        return report_html(self)

    def __repr__(self) -> str:
        """Return a line that tells the verdict and what it stands on."""
        counts = self.counts
        state = "fired" if self.fired else "complete" if self.complete else "not judged"
        return (
            f"<Report of {self.trial!r}: {state}, {counts['violations']} violations in "
            f"{counts['comparisons']} comparisons, {counts['skipped']} skipped, {counts['unreadable']} unreadable>"
        )
