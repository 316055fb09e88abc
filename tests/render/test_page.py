"""The page, in a real browser; and what it says without one."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
import sys
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import parse_qsl

import pytest

from tests.browser import Page, browser
from tests.conftest import RECORDED
from tests.render.golden import held, run
from tests.reports import HOSTILE, invoke_command, large_report, made_report
from tests.shared import made_once, run_folder
from tests.sick_runs import sick_run
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.findings.findings import Finding
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.titles import title_of
from weight_update_ratio.report import Report

pytest.importorskip("bokeh")

HEAT = "const range = Bokeh.documents[0].get_model_by_name('heat').y_range; return "
MODEL = "const model = name => Bokeh.documents[0].get_model_by_name(name); return "
TABLE = "return Array.from(document.querySelector('#tensors').tBodies[0].rows)"


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    yield from browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture
def page(browsed: Page) -> Iterator[Page]:
    """Give the browser; what a test opened complains of nothing, and asks for no address but its own."""
    yield browsed
    browsed.reset()
    assert browsed.complaints() == []
    assert [url for url in browsed.requests() if not url.startswith(("file:", "data:", "about:"))] == []


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the page of a run with many findings: of 161 tensors, or of 300 tensors on 4 workers."""
    folder = run_folder(tmp_path_factory)
    return lambda name: made_once(folder / f"sick-{name}.html", lambda: sick_run(name).to_html())


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Callable[[Report], Page]:
    """Give a function that opens the page of a report."""

    def open_report(report: Report) -> Page:
        (tmp_path / "report.html").write_text(report.to_html(), encoding="utf-8")
        return page.open(tmp_path / "report.html")

    return open_report


def is_in_window(page: Page, selector: str, height: int) -> bool:
    """Return whether an element is wholly in the window, to a pixel."""
    box = page.box(selector)
    return box["height"] > 80 and box["top"] >= -1 and box["bottom"] <= height + 1


def contrast(page: Page, one: str, other: str) -> float:
    """Return how well a color is read on another: WCAG's ratio, 4.5 is enough for text."""

    def luminance(color: str) -> float:
        canvas = "const c = document.createElement('canvas').getContext('2d'); c.fillStyle = arguments[0];"
        parts = page.run(canvas + "c.fillRect(0, 0, 1, 1); return Array.from(c.getImageData(0, 0, 1, 1).data)", color)
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in (part / 255 for part in parts)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def style(page: Page, selector: str, name: str) -> str:
    return page.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)


@pytest.mark.slow
class TestInTheBrowser:
    def test_a_recorded_trial_is_drawn_and_a_cell_tells_its_comparison(self, opened: Callable[[Report], Page]) -> None:
        report = check_trial(RECORDED["pytorch_healthy"])
        page = opened(report)
        assert page.drawn_colors() > 5
        assert page.element("#count").text == "4 of 4 rows"
        assert "No finding" in page.element("#cards").text
        top = page.rows()[0]
        expected = next(row for row in report if row.tensor == top and row.step == 7)
        shown = page.hover(7, 0, "TRAIN 7")
        assert top in shown
        assert re.search(r"against step:\s*6\b", shown)
        for name in ("ratio", "update_norm", "weight_norm"):
            number = re.search(rf"{name.replace('_', ' ')}:\s*([0-9.e+-]+?)(?=[a-z]{{2}}|\s|$)", shown).group(1)
            assert float(number) == pytest.approx(getattr(expected, name), rel=1e-3)

    def test_rows_are_sorted_and_those_kept_whose_names_hold_a_text(self, opened: Callable[[Report], Page]) -> None:
        from selenium.webdriver.support.ui import Select

        page = opened(made_report({"b1": [1e-3], "c2": [20.0], "a1": [math.nan], "d2": [1e-2]}))
        assert page.rows() == ["a1", "c2", "d2", "b1"]
        for label, expected in (("as saved", ["b1", "c2", "a1", "d2"]), ("by name", ["a1", "b1", "c2", "d2"])):
            Select(page.element("#sort")).select_by_visible_text(label)
            assert page.rows() == expected
        page.element("#part").send_keys("B")
        page.wait("return document.querySelector('#count').textContent === '1 of 4 rows'")
        assert page.rows() == ["b1"]
        page.element("#part").send_keys("no such name")
        page.wait("return document.querySelector('#count').textContent === '0 of 4 rows'")

    def test_a_click_draws_the_line_charts_of_that_row(self, opened: Callable[[Report], Page]) -> None:
        """A line breaks at what is zero or not finite, and where steps were not compared."""
        gaps = [1e-3, 1e-3, None, 1e-3, 1e-3, None, None, None, 1e-3]
        page = opened(made_report({"one": [1e-3, 0.0, 1e-4, math.nan], "gaps": gaps}))
        page.click(*page.point(3, page.rows().index("one")))
        page.wait("return document.querySelector('#tensor').textContent === 'one'")
        shown = page.wait("return document.querySelector('#cell').textContent")
        assert shown == "TRAIN step 3 against 2: ratio 0.0001, update norm 0.0002, weight norm 2: ok"
        lines = page.lines()
        assert lines["step"] == [1, 2, 3, 4]
        assert lines["ratio"] == [pytest.approx(-3), None, pytest.approx(-4), None]
        assert lines["ratio_text"] == ["0.001", "0", "0.0001", "nan"]
        page.choose("gaps")
        level = pytest.approx(-3)
        assert page.lines()["ratio"] == [level, level, None, level, level, None, level]

    def test_markup_in_names_stays_text(self, opened: Callable[[Report], Page]) -> None:
        """In cards, the table, its links, labels, what is told of a cell, and the picture's state."""
        report = made_report({name: [20.0, 1e-3] for name in HOSTILE}, workers=("<i>w</i>", '"><script>x()</script>'))
        page = opened(report)
        shown = page.rows()
        for place, name in enumerate(shown):
            assert name in page.hover(1, place, name)
            page.click(*page.point(1, place))
            page.wait("return document.querySelector('#tensor').textContent.startsWith(arguments[0])", name)
        for link in page.driver.find_elements("css selector", "#tensors a"):
            link.click()
            page.wait("return document.querySelector('#tensor').textContent.startsWith(arguments[0])", link.text)
        for card in page.driver.find_elements("css selector", ".card button"):
            card.click()
        text = page.driver.find_element("tag name", "body").text
        assert set(HOSTILE[:3]) <= set(shown)
        assert all(name in text for name in HOSTILE[:3])
        assert "\x1b" not in "".join(shown)
        assert page.run("return window.hacked") is None
        assert page.run("return document.querySelectorAll('i, #tensors script, #cards img').length") == 0

    @pytest.mark.parametrize("width", [390, 1280])
    def test_nothing_is_wider_than_the_window(self, opened: Callable[[Report], Page], width: int) -> None:
        page = opened(check_trial(RECORDED["pytorch_exploding"]))
        page.resize(width, 800)
        page.wait("return Bokeh.documents[0].get_model_by_name('heat').inner_width < arguments[0]", width)
        assert page.wait("return document.documentElement.scrollWidth") <= width

    @pytest.mark.no_cover
    def test_a_large_trial_is_small_and_keeps_its_spike_and_its_nan(self, page: Page, tmp_path: Path) -> None:
        """Also where violations are everywhere: the most that a picture has to hold."""
        path = tmp_path / "report.html"
        for scattered in (True, False):
            path.write_text(large_report(scattered=scattered).to_html(), encoding="utf-8")
            assert path.stat().st_size < 4e6
            page.open(path)
            assert page.lines()["ratio_text"].count("nan") > (10 if scattered else 0)
        assert page.rows()[:2] == ["encoder.layers.33.block.2.weight", "encoder.layers.12.block.5.weight"]
        assert re.search(r"TRAIN 124\b.*ratio:\s*5\D.*the worst is named", page.hover(124, 1, "TRAIN 124"), re.DOTALL)

    def test_a_notebook_has_the_same_picture_with_controls(self, page: Page, tmp_path: Path) -> None:
        from bokeh.embed import file_html
        from bokeh.resources import INLINE

        path = tmp_path / "notebook.html"
        ratios = {f"layer{number}": [1e-3 * number, 1e-3] for number in range(1, 31)}
        path.write_text(file_html(made_report(ratios, workers=("a", "b")).plot(), INLINE), encoding="utf-8")
        page.open(path)
        assert len(page.rows()) == 30
        assert page.model("tensor", "text") == "layer30 (a)"
        page.mouse("mouseWheel", *page.point(1, 3), deltaX=0, deltaY=100)
        assert page.wait(HEAT + "range.end > -0.5")
        page.mouse("mouseWheel", *page.point(1, 8), deltaX=0, deltaY=-5000)
        assert page.wait(HEAT + "range.end === -0.5"), "no further than the first row"
        page.element("input[type=checkbox]").click()
        page.wait("return Bokeh.documents[0].get_model_by_name('shown').data.rows[0].length === 60")
        page.element("input[type=text]").send_keys("layer7")
        page.wait("return Bokeh.documents[0].get_model_by_name('shown').data.rows[0].length === 2")
        page.click(*page.point(1, 0))
        page.wait("return Bokeh.documents[0].get_model_by_name('tensor').text === 'layer7 (a)'")

    def test_a_baseline_is_a_band_around_the_line(self, opened: Callable[[Report], Page]) -> None:
        page = opened(held({"grows": [2.0] * 8 + [5.0] * 12}, moves=[0.002] * 20, rests=[0.0] * 9 + [1e-5] * 11))
        text = page.driver.find_element("tag name", "body").text
        assert "shaded: expected by the baseline of 1 run (factor 3, patience 3)" in page.driver.page_source
        assert "above its bounds" in text
        assert "weight norm drifted" in text
        page.choose("moves")
        lines = page.lines()
        assert {round(value, 4) for value in lines["lower"]} == {-3.4771}  # log10 of 0.001 / 3
        assert {round(value, 4) for value in lines["upper"]} == {-2.5229}
        assert "0.000333 to 0.003" == lines["expected_text"][0]
        page.choose("rests")
        lines = page.lines()
        assert max(lines["upper"]) == pytest.approx(-8, abs=1e-4)
        assert -20 < min(lines["lower"]) < -8, "no lower bound: the band reaches to the edge of the chart"


def card_titles(findings: list[Finding]) -> list[str]:
    return [f"{number}. {title_of(finding.kind)}" for number, finding in enumerate(findings, 1)]


@pytest.mark.slow
class TestSickRunsInTheBrowser:
    @pytest.mark.parametrize(
        ("name", "width", "height"), [("resnet", 1280, 800), ("resnet", 390, 844), ("transformer", 1440, 900)]
    )
    def test_a_card_shows_its_tensors_with_the_charts_in_the_window(
        self, page: Page, sick: Callable[[str], Path], name: str, width: int, height: int
    ) -> None:
        """By the mouse, and by the keyboard."""
        page.resize(width, height)
        page.open(sick(name))
        assert sick(name).stat().st_size < 4e6
        findings = sick_run(name).findings
        buttons = page.driver.find_elements("css selector", ".card button")
        assert card_titles(findings) == [button.text for button in buttons]
        for place, (button, finding) in enumerate(zip(buttons, findings)):
            page.run("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button)
            button.send_keys("\ue007") if place % 2 else button.click()  # Enter
            assert sorted(page.rows()) == sorted(finding.tensors)
            assert page.shown("step") == finding.worst_step
            assert page.element("#tensor").text.split()[0] == finding.worst_tensor
            assert all(is_in_window(page, chart, height) for chart in ("#charts", "#ratio", "#norm"))
        assert page.box("#map")["bottom"] > 100, "the map is in sight too"
        page.element("#all").click()
        assert len(page.rows()) == len(set(page.model("rows", "data")["tensor"]))
        assert not page.element("#all").is_displayed()

    def test_a_tensor_has_one_row_of_its_worst_worker_until_workers_are_split(
        self, page: Page, sick: Callable[[str], Path]
    ) -> None:
        page.open(sick("transformer"))
        rows = page.model("rows", "data")
        assert len(page.rows()) == len(set(page.rows())) == 300
        stopped = [row for row in page.shown("rows") if rows["tensor"][row].startswith("decoder.layers.23.")]
        assert all(rows["label"][row].endswith(" worker_2") for row in stopped)
        page.element("#split").click()
        assert len(page.rows()) == len(set(rows["label"])) == len(set(rows["short"])) == 1200

    def test_a_link_leads_to_its_tensor_worker_and_step(self, page: Page, sick: Callable[[str], Path]) -> None:
        """The step is that of the row's worst comparison, also where only some are kept."""
        link = "#tensor=decoder.layers.23.norm.weight&worker=worker_2&step=151"
        page.open(sick("transformer"), link)
        assert page.element("#tensor").text == "decoder.layers.23.norm.weight of worker_2"
        assert page.element("#cell").text.startswith("TRAIN step 151 against 150: ratio 0,")
        page.driver.find_element("css selector", ".card button").click()
        assert page.run("return decodeURIComponent(location.hash)") == (
            "#tensor=decoder.layers.5.self_attn.q_proj.weight&worker=worker_0&step=126"
        )
        page.choose("embed.norm.bias", worker="worker_3", step=1)
        assert page.element("#tensor").text == "embed.norm.bias of worker_3"
        assert "embed.norm.bias" in page.rows(), "the filter of the card ends"
        page.run("location.hash = '#tensor=none'")
        assert page.element("#tensor").text == "embed.norm.bias of worker_3"
        for row in page.driver.find_elements("css selector", "#tensors tbody tr:nth-child(333n + 1)"):
            row.find_element("css selector", "a").click()
            wanted = dict(parse_qsl(row.find_element("css selector", "a").get_attribute("href").partition("#")[2]))
            page.wait("return document.querySelector('#tensor').textContent.includes(arguments[0])", wanted["tensor"])
            assert page.element("#tensor").text == f"{wanted['tensor']} of {wanted['worker']}"
            assert page.shown("step") == int(wanted["step"])

    def test_the_table_is_sorted_by_a_click_on_a_head(self, page: Page, sick: Callable[[str], Path]) -> None:
        page.open(sick("resnet"))

        def column(place: int) -> list[str]:
            return page.run(f"{TABLE}.map(row => row.cells[arguments[0]].textContent)", place)

        worst_first = column(0)
        heads = page.driver.find_elements("css selector", "#tensors thead button")
        assert [head.text for head in heads] == ["tensor", "median", "lowest", "highest", "last", "violations"]
        for direction in ("descending", "ascending"):
            heads[5].click()
            cell = page.driver.find_elements("css selector", "#tensors thead th")[5]
            assert cell.get_attribute("aria-sort") == direction
            numbers = [int(text.replace(",", "")) for text in column(5)]
            assert numbers == sorted(numbers, reverse=direction == "descending")
        heads[5].click()
        assert column(0) == worst_first
        heads[4].click()
        assert column(4)[-2:] == ["nan", "nan"], "what is not a number comes last"
        heads[0].click()
        assert column(0) == sorted(worst_first)

    def test_it_is_printed_on_at_most_4_pages(self, page: Page, sick: Callable[[str], Path]) -> None:
        page.open(sick("transformer"))
        printed = page.emulate("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        assert 1 <= len(re.findall(rb"/Type /Page[^s]", base64.b64decode(printed["data"]))) <= 4
        page.emulate("Emulation.setEmulatedMedia", media="print")
        shown = page.run(f"{TABLE}.filter(r => r.getClientRects().length > 0).map(r => r.cells[0].textContent)")
        page.emulate("Emulation.setEmulatedMedia", media="")
        assert len(shown) == len(set(shown)) == 40

    def test_it_is_read_in_the_dark(self, page: Page, sick: Callable[[str], Path]) -> None:
        page.open(sick("resnet"))
        texts = ("model('heat').left[0].major_label_text_color", "model('norm').below[0].axis_label_text_color")
        grounds = ("model('heat').border_fill_color", "model('ratio').background_fill_color")
        light = [page.run(MODEL + script) for script in (*texts, *grounds)]
        page.darken()
        page.wait("return getComputedStyle(document.body).backgroundColor === 'rgb(13, 17, 23)'")
        dark = [page.run(MODEL + script) for script in (*texts, *grounds)]
        for colors in (light, dark):
            assert all(contrast(page, text, ground) > 4.5 for text in colors[:2] for ground in colors[2:])
        for selector in (".card p", ".card .advice", ".card button", ".counts", "#cell", "#tensors a", "#tensors td"):
            card = ".card" if selector.startswith(".card") else "body"
            assert contrast(page, style(page, selector, "color"), style(page, card, "backgroundColor")) > 4.5
        page.reset()
        page.wait("return getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
        assert light == [page.run(MODEL + script) for script in (*texts, *grounds)]

    def test_without_scripts_a_screen_reader_has_verdict_findings_and_table(
        self, page: Page, sick: Callable[[str], Path]
    ) -> None:
        """What is empty without scripts is not there."""
        page.emulate("Emulation.setScriptExecutionDisabled", value=True)
        try:
            page.driver.get("about:blank")
            page.driver.get(sick("resnet").as_uri())
            nodes = [node for node in page.emulate("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        finally:
            page.emulate("Emulation.setScriptExecutionDisabled", value=False)
        names: dict[str, list[str]] = {}
        for node in nodes:
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
        assert len([text for text in names["heading"] if text.startswith("FIRED")]) == 1
        assert card_titles(sick_run("resnet").findings) == names["button"][:-6]
        assert {"Tensors", "Parameters and versions"} <= set(names["heading"])
        assert names["table"] == ["Update-to-weight ratios of each tensor, worst first"]
        assert len(names["rowheader"]) == 161
        assert not {"combobox", "searchbox"} & set(names)


def text_of(page: str) -> str:
    """Return what a reader sees of a page."""
    return html.unescape(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))


def table_rows(page: str) -> list[str]:
    """Return the names in the table of tensors."""
    return [html.unescape(name) for name in re.findall(r'<th scope="row"><a[^>]*>(.*?)</a>', page)]


def test_it_says_verdict_counts_findings_parameters_and_versions() -> None:
    report = check_trial(RECORDED["pytorch_frozen"], num_steps=2)
    text = text_of(report.to_html())
    (finding,) = report.findings
    lines = ["19 of 76 update-to-weight ratios are violations", "20 TRAIN steps, 4 tensors", "Median ratio "]
    for part in [*lines, finding.text, finding.advice, "num_steps2", "judged modeTRAIN", "weight-update-ratio0.1.0"]:
        assert part in text


def test_without_a_comparison_it_says_why() -> None:
    report = run("reductions")
    text = text_of(report.to_html())
    assert "There is no comparison to draw" in text
    assert report.problem.message in text
    with pytest.raises(ValueError, match="there is no comparison to draw: nothing can be compared"):
        report.plot()


def test_its_policy_allows_its_own_scripts_alone() -> None:
    page = made_report({"a": [20.0]}).to_html()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src 'none'" in policy
    scripts = [text for kind, text in re.findall(r"<script(.*?)>(.*?)</script>", page, re.DOTALL) if not kind]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert hashes == set(re.findall(r"'sha256-(.*?)'", policy))


def test_what_it_leaves_out_it_says() -> None:
    """It draws 2,000 rows, lists 1,000, prints 40 tensors and has 500 lines of what was skipped or unreadable."""
    ratios: dict[str, list[float]] = {f"rests{number}": [0.0] for number in range(2000)}
    report = made_report({**ratios, **{f"large{number}": [20.0] for number in range(50)}})
    report = report.with_facts(notes=[SkippedGroup("<b>", None, "saved only as a reduction (l2)", None, None, 1)])
    report.rows.add_unreadable(0, [Unreadable(f"file{n}", "t", "w", n, "is <gone>") for n in range(600)])
    page = report.to_html()
    text = text_of(page)
    for note in (
        "The 2,000 worst rows are drawn; 50 are left out.",
        "The 1,000 worst rows; 1,050 are left out.",
        "The 40 worst of 2,050 tensors.",
        "<b>: saved only as a reduction (l2)",
        "tensor t in file0 (global step 0): is <gone>",
        "and 100 more; --format json lists them all",
    ):
        assert note in text
    assert table_rows(page) == list(ratios)[:1000]
    assert page.count("<tr class=printed>") == 40


@pytest.mark.parametrize(
    ("ratios", "worst_first"),
    [
        (
            {"sound": [1e-3], "near": [1.0], "below": [1e-10], "above": [20.0], "far": [1e6], "rests": [0.0]},
            ["rests", "far", "below", "above", "near", "sound"],
        ),
        (  # equally bad rows: by how many violations they have, and when
            {
                "late": [1e-3] * 4 + [math.nan],
                "early": [1e-3] * 2 + [math.nan] * 3,
                "soon": [1e-3] * 3 + [math.nan] * 2,
                "once": [1e-3, math.nan, 1e-3, 1e-3, 1e-3],
            },
            ["early", "soon", "once", "late"],
        ),
    ],
)
def test_rows_stand_by_how_far_their_worst_ratio_is_out_of_bounds(ratios: Any, worst_first: list[str]) -> None:
    assert worst_first == table_rows(made_report(ratios).to_html())


@pytest.mark.parametrize(
    ("trial", "name"),
    [("s3://bucket/jobs/resnet 50/", "s3-bucket-jobs-resnet-50-"), ("/", ""), ("x" * 300, "x" * 100 + "-")],
)
def test_it_is_saved_by_the_name_of_its_trial(trial: str, name: str) -> None:
    """A browser offers the title as the file's name, and bokeh its own for the picture."""
    import bokeh.models

    report = made_report({"a": [1e-3]}).with_facts(trial=trial)
    assert f"<title>{name}weight-update-ratio</title>" in report.to_html()
    (tool,) = report.plot().select({"type": bokeh.models.SaveTool})
    assert f"{name}weight-update-ratio" == tool.filename


def test_what_is_rare_is_drawn() -> None:
    """Large norms, steps beyond int32, no lower threshold, no finite ratio, violations at every second step."""
    report = made_report({"a": [1e-3, 1e-3], "b": [math.nan]}, Parameters(small_threshold=0.0))
    report.columns["step"][1] = 2**40
    report.columns["update_norm"][1] = 1e300
    assert report.to_html()
    assert made_report({f"t{number}": [20.0, 1e-3] * 110 for number in range(40)}).to_html()


def test_missing_bokeh_is_said_before_the_trial_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    result = invoke_command("check", str(RECORDED["pytorch_frozen"]), "--html", str(tmp_path / "r.html"))
    expected = "Error: '--html' needs bokeh, which is not installed\n\npip install 'weight-update-ratio[report]'\n"
    assert (2, expected, []) == (result.exit_code, result.stderr, list(tmp_path.iterdir()))
    with pytest.raises(ImportError, match="drawing needs bokeh, which is not installed: pip install"):
        check_trial(RECORDED["pytorch_frozen"]).plot()
