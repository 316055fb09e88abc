"""A judged run with its findings: what every rendering takes."""

from __future__ import annotations

from ..verdict.judged_run import JudgedRun, computed
from .course import Course, courses_of
from .findings import Finding, find_findings
from .kinds import FAULT
from .summary import Summary, run_summary


class Judgement(JudgedRun):
    """A judged run with its findings."""

    strict = False  # whether all that fires counts, as the rule counts it; else only faults do

    @computed
    def courses(self) -> list[Course]:
        return courses_of(self)

    @computed
    def findings(self) -> list[Finding]:
        return find_findings(self, self.courses)

    @computed
    def ratios(self) -> Summary:
        return run_summary(self.columns["ratio"], self.courses)

    @property
    def fired(self) -> bool:
        """Whether there is a fault; if it is strict, whether the rule fires."""
        return super().fired if self.strict else any(finding.severity == FAULT for finding in self.findings)
