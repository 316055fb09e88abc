"""The progress bar, in a terminal and in a notebook's kernel."""

from __future__ import annotations

import pytest

from tests.conftest import RECORDED
from weight_update_ratio import check_trial
from weight_update_ratio.render.progress import terminal_bar


def test_terminal_bar_goes_when_done(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_bar() as update:
        update(1, 2)
    assert capsys.readouterr().out == ""


def test_true_shows_a_bar_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_trial(RECORDED["pytorch_healthy"], progress=True)
    assert report.to_json() == check_trial(RECORDED["pytorch_healthy"]).to_json()
    assert capsys.readouterr().out == ""


def test_function_is_called_for_every_step() -> None:
    calls: list[tuple[int, int]] = []
    check_trial(RECORDED["pytorch_healthy"], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]


class _Kernel:
    kernel = object()


def test_notebook_bar_is_updated_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    import IPython.display

    from weight_update_ratio.render import progress

    shown: list[str] = []

    class Handle:
        def update(self, html: IPython.display.HTML) -> None:
            shown.append(html.data)

    monkeypatch.setattr(IPython, "get_ipython", lambda: _Kernel())
    monkeypatch.setattr(IPython.display, "display", lambda html, display_id: shown.append(html.data) or Handle())
    with progress.progress_bar() as update:
        update(1, 2)  # too soon after the first
        monkeypatch.setattr(progress, "LEAST_SECONDS", 0)
        update(2, 2)
    assert len(shown) == 3
    assert shown[0].endswith("0 of 0 steps")
    assert shown[-1] == 'checking <progress value="2" max="2"></progress> 2 of 2 steps'
