"""The page, in a real browser; and what it says without one."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
import re
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import parse_qsl

import numpy as np
import pytest

from tests.browser import Page, browser
from tests.conftest import RECORDED
from tests.render.golden import held, run
from tests.reports import HOSTILE, made_report
from tests.shared import made_once, run_folder
from tests.sick_runs import large_report, sick_run
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.findings.findings import Finding
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.titles import title_of
from weight_update_ratio.report import Report

pytest.importorskip("bokeh")
BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)
TEXTS = (".card p", ".card .advice", ".card button", ".soft", "#chosen", "#tensors a", "#tensors td")


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    yield from browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture
def page(browsed: Page) -> Iterator[Page]:
    """Give the browser; what a test opened complains of nothing, and asks for no address but its own."""
    yield browsed
    browsed.reset()
    assert [entry for entry in browsed.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert [url for url in browsed.requests() if not url.startswith(("file:", "data:", "about:", "blob:"))] == []


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


def contrast(one: str, other: str) -> float:
    """Return how well a color is read on another: WCAG's ratio, 4.5 is enough for text."""

    def luminance(color: str) -> float:
        shares = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def picture(source: bytes) -> Any:
    """Return the pixels of a PNG: shape (height, width, 4)."""
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(source)).convert("RGBA"))


def card_titles(findings: list[Finding]) -> list[str]:
    return [f"{number}. {title_of(finding.kind)}" for number, finding in enumerate(findings, 1)]


@pytest.mark.slow
class TestInTheBrowser:
    def test_a_strip_says_and_selects_the_comparison_under_the_mouse(self, opened: Callable[[Report], Page]) -> None:
        report = check_trial(RECORDED["pytorch_healthy"])
        page = opened(report)
        assert page.text("#count") == "4 of 4 rows"
        assert "No finding" in page.text("#cards")
        top = page.column()[0]
        row = next(row for row in report if row.tensor == top and row.step == 7)
        page.point(top, 7)
        said = page.wait("return document.querySelector('#tip:not([hidden])')?.textContent")
        page.click(top, 7)
        assert (top, said) == page.chosen()
        numbers = f"ratio {row.ratio:.3g}, update norm {row.update_norm:.3g}, weight norm {row.weight_norm:.3g}"
        assert said == f"TRAIN step 7 against 6: {numbers}: ok"

    def test_rows_are_filtered_and_sorted(self, opened: Callable[[Report], Page]) -> None:
        page = opened(made_report({"b1": [1e-3], "c2": [20.0], "a1": [math.nan], "d2": [1e-2]}))
        worst_first = ["a1", "c2", "d2", "b1"]
        heads = page.all("thead button")
        for head, expected in (
            ("#", ["b1", "c2", "a1", "d2"]),
            ("tensor", ["a1", "b1", "c2", "d2"]),
            ("highest", ["c2", "d2", "b1", "a1"]),  # what is not a number comes last, in both directions
        ):
            (button,) = [button for button in heads if button.text == head]
            assert page.column() == worst_first
            for sort in (expected, [*expected[-2::-1], "a1"] if head == "highest" else expected[::-1], worst_first):
                button.click()
                assert page.column() == sort
            assert page.all("th[aria-sort]") == []
        page.all("#part")[0].send_keys("B")
        assert (page.text("#count"), page.column()) == ("1 of 4 rows", ["b1"])
        page.all("#part")[0].send_keys("no such name")
        assert page.text("#count") == "0 of 4 rows"

    def test_lines_break_at_what_is_zero_or_not_finite_or_was_not_compared(
        self, opened: Callable[[Report], Page]
    ) -> None:
        gaps = [1e-3, 1e-3, None, 1e-3, 1e-3, None, None, None, 1e-3]
        page = opened(made_report({"one": [1e-3, 0.0, 1e-4, math.nan], "gaps": gaps}))
        page.click("one", 3)
        assert page.chosen() == ("one", "TRAIN step 3 against 2: ratio 0.0001, update norm 0.0002, weight norm 2: ok")
        lines = page.lines()
        assert lines["step"] == [1, 2, 3, 4]
        assert lines["ratios"] == [pytest.approx(-3), None, pytest.approx(-4), None]
        assert page.run("return Array.from(model('ratio_edges').data.marker)") == ["circle", "x"]
        page.click("gaps", 1)
        level = pytest.approx(-3)
        assert page.lines()["ratios"] == [level, level, None, level, level, None, level]
        page.click("one", 2)
        page.all("tr.chosen a")[0].send_keys("\ue015")  # arrow down
        assert page.chosen()[0] == "gaps"

    def test_markup_in_names_stays_text(self, opened: Callable[[Report], Page]) -> None:
        """In cards, the table, its links, what is said of a comparison, the charts, and the address."""
        report = made_report({name: [20.0, 1e-3] for name in HOSTILE}, workers=("<i>w</i>", '"><script>x()</script>'))
        page = opened(report)
        names = page.run("return tensors.filter((_, row) => !rows[row].hidden)")
        assert {*HOSTILE[:3], HOSTILE[4]} <= set(names)
        for name, link in zip(names, page.all("#tensors tr:not([hidden]) a")):
            link.click()
            assert page.chosen()[0] == f"{name} of <i>w</i>"
            asked = dict(parse_qsl(page.run("return location.hash.slice(1)")))
            assert asked == {"tensor": name, "worker": "<i>w</i>", "step": "1"}
            page.point(name, 2)
        for card in page.all(".card button"):
            card.click()
        assert HOSTILE[0] in page.text("#cards")
        assert page.run("return window.hacked") is None
        assert page.all("main i:not(#mark), #tensors script, #cards img") == []

    @pytest.mark.parametrize("width", [390, 901, 1100, 1440])
    def test_nothing_is_wider_than_the_window_and_every_bin_has_its_pixel(
        self, page: Page, sick: Callable[[str], Path], width: int
    ) -> None:
        page.resize(width, 900)
        page.open(sick("transformer"))
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.box(".strip img")["width"] >= page.run("return document.querySelector('.strip img').naturalWidth")
        cut = "return Array.from(document.querySelectorAll('.card p')).filter(p => p.scrollHeight > p.clientHeight + 2)"
        assert page.run(f"{cut}.length") == 0
        if width == 1440:
            assert page.box("#scroll")["height"] / page.box("tbody tr")["height"] > 14

    @pytest.mark.no_cover
    def test_a_large_trial_is_small_and_keeps_its_spike_and_its_nan(self, page: Page, tmp_path: Path) -> None:
        """Also where violations are everywhere: the most that a page has to show."""
        path = tmp_path / "report.html"
        for scattered in (True, False):
            path.write_text(large_report(scattered=scattered).to_html(), encoding="utf-8")
            assert path.stat().st_size < 4e6
            page.open(path)
            assert page.lines()["ratios"].count(None) > (10 if scattered else 0)
        nan, spike = page.column()[:2]
        assert (nan, spike) == ("encoder.layers.33.block.2.weight", "encoder.layers.12.block.5.weight")
        page.click(spike, 124)
        page.choose(spike)
        assert "TRAIN step 124 against 123: ratio 5," in page.chosen()[1]
        page.choose(nan)
        assert "TRAIN step 4001 against 4000: ratio nan," in page.chosen()[1]

    def test_a_notebook_shows_the_same_page_in_a_frame(self, page: Page, tmp_path: Path) -> None:
        path = tmp_path / "notebook.html"
        report = made_report({f"layer{number}": [1e-3 * number, 1e-3] for number in range(1, 31)}, workers=("a", "b"))
        path.write_text(report.plot()._repr_html_(), encoding="utf-8")
        page.driver.get(path.as_uri())
        page.driver.switch_to.frame(0)
        page.wait_until_drawn()
        assert page.chosen()[0] == "layer30 of a"
        page.all("#split")[0].click()
        page.all("#part")[0].send_keys("layer7")
        assert page.column() == ["layer7", "layer7"]
        page.all("#tensors tr:not([hidden]) a")[1].click()
        assert page.chosen()[0] == "layer7 of b"
        page.driver.switch_to.default_content()

    def test_a_baseline_is_a_band_around_the_line(self, opened: Callable[[Report], Page]) -> None:
        page = opened(held({"grows": [2.0] * 8 + [5.0] * 12}, moves=[0.002] * 20, rests=[0.0] * 9 + [1e-5] * 11))
        assert "shaded: expected by the baseline of 1 run (factor 3, patience 3)" in page.driver.page_source
        for words in ("above its bounds", "below them", "weight norm drifted"):
            assert words in page.text("#legend")
        page.choose("moves")
        lines = page.lines()
        assert {round(value, 4) for value in lines["lower"]} == {-3.4771}  # log10 of 0.001 / 3
        assert {round(value, 4) for value in lines["upper"]} == {-2.5229}
        assert "ratio 0.002, expected 0.000333 to 0.003," in lines["text"][0]
        page.choose("rests")
        lines = page.lines()
        assert max(lines["upper"]) == pytest.approx(-8, abs=1e-4)
        assert -20 < min(lines["lower"]) < -8, "no lower bound: the band reaches to the edge of the chart"


@pytest.mark.slow
class TestSickRunsInTheBrowser:
    @pytest.mark.parametrize(
        ("name", "width", "height"), [("resnet", 1280, 800), ("resnet", 390, 844), ("transformer", 1440, 900)]
    )
    def test_a_card_shows_its_tensors_and_what_began_it_with_the_charts_in_the_window(
        self, page: Page, sick: Callable[[str], Path], name: str, width: int, height: int
    ) -> None:
        """By the mouse, and by the keyboard."""
        page.resize(width, height)
        page.open(sick(name))
        findings, buttons = sick_run(name).findings, page.all(".card button")
        assert card_titles(findings) == [button.text for button in buttons]
        for number, (button, finding) in enumerate(zip(buttons, findings)):
            button.send_keys("\ue007") if number % 2 else button.click()  # Enter
            assert sorted(page.column()) == sorted(finding.tensors)
            tensor, said = page.chosen()
            assert tensor.split()[0] in finding.tensors
            assert f"TRAIN step {finding.onset_step} against" in said
            for chart in ("#ratio", "#norm"):
                box = page.box(chart)
                assert box["height"] > 80
                assert box["top"] >= 0
                assert box["bottom"] <= height + 1
        page.all("#all")[0].click()
        assert len(page.column()) == len(sick_run(name).tensors)
        assert not page.all("#all")[0].is_displayed()

    def test_a_tensor_has_one_row_of_its_worst_worker_until_workers_are_split(
        self, page: Page, sick: Callable[[str], Path]
    ) -> None:
        page.open(sick("transformer"))
        assert len(page.column()) == len(set(page.column())) == 300
        workers = zip(page.column(), page.column(2))
        assert {worker for tensor, worker in workers if tensor.startswith("decoder.layers.23.")} == {"worker_2"}
        page.all("#split")[0].click()
        assert len(set(zip(page.column(), page.column(2)))) == 1200

    def test_a_link_leads_to_its_tensor_worker_and_step(self, page: Page, sick: Callable[[str], Path]) -> None:
        """The step is that of the row's worst comparison, also if only some are kept."""
        link = "#tensor=decoder.layers.23.norm.weight&worker=worker_2&step=151"
        page.open(sick("transformer"), link)
        assert page.chosen()[0] == "decoder.layers.23.norm.weight of worker_2"
        assert page.chosen()[1].startswith("TRAIN step 151 against 150: ratio 0,")
        page.all(".card button")[0].click()
        assert page.run("return decodeURIComponent(location.hash)") == (
            "#tensor=decoder.layers.5.self_attn.q_proj.weight&worker=worker_0&step=126"
        )
        page.choose("embed.norm.bias", worker="worker_3", step=1)
        assert page.chosen()[0] == "embed.norm.bias of worker_3"
        assert "embed.norm.bias" in page.column(), "the filter of the card ends"
        page.run("location.hash = '#tensor=none'")
        assert page.chosen()[0] == "embed.norm.bias of worker_3"
        page.all("#split")[0].click()
        for row in page.all("#tensors tbody tr:nth-child(333n + 1)"):
            link = row.find_element("css selector", "a")
            page.run("arguments[0].click()", link)
            wanted = dict(parse_qsl(link.get_attribute("href").partition("#")[2]))
            assert page.chosen()[0] == f"{wanted['tensor']} of {wanted['worker']}"
            assert page.chosen()[1].startswith(f"TRAIN step {wanted['step']} against")

    def test_it_is_printed_on_at_most_4_pages(self, page: Page, sick: Callable[[str], Path]) -> None:
        page.open(sick("transformer"))
        printed = page.emulate("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        assert 1 <= len(re.findall(rb"/Type /Page[^s]", base64.b64decode(printed["data"]))) <= 4
        page.emulate("Emulation.setEmulatedMedia", media="print")
        shown = page.column()
        page.emulate("Emulation.setEmulatedMedia", media="")
        assert len(shown) == len(set(shown)) == 40

    def test_it_is_read_in_the_dark(self, page: Page, sick: Callable[[str], Path]) -> None:
        page.open(sick("resnet"))
        for is_dark in (False, True):
            if is_dark:
                features = [{"name": "prefers-color-scheme", "value": "dark"}]
                page.emulate("Emulation.setEmulatedMedia", features=features)
                page.wait("return getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'")
            for selector in TEXTS:
                back = page.style(".card" if selector.startswith(".card") else "body", "backgroundColor")
                assert contrast(page.style(selector, "color"), back) > 4.5
            pixels = picture(page.all("#ratio")[0].screenshot_as_png)[..., :3].reshape(-1, 3)
            colors, counts = np.unique(pixels, axis=0, return_counts=True)
            back = tuple(colors[counts.argmax()].tolist())
            assert back == ((18,) * 3 if is_dark else (255,) * 3)
            assert max(contrast(str(color.tolist()), str(back)) for color in colors) > 10

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
        assert card_titles(sick_run("resnet").findings) == names["button"][:-7]
        assert "Parameters and versions" in names["heading"]
        assert names["table"] == ["Update-to-weight ratios of each tensor, worst first"]
        assert len(names["rowheader"]) == 161
        assert not {"combobox", "searchbox"} & set(names)


def text_of(page: str) -> str:
    """Return what a reader sees of a page."""
    return html.unescape(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))


def table_rows(page: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'<th scope="row"><a[^>]*>(.*?)</a>', page)]


def strips(report: Report) -> dict[str, tuple[float, float, Any]]:
    """Return the strip of each tensor: where it begins and how wide it is, in percent, and its pixels by column."""
    page, drawn = report.to_html(), {}
    images = re.findall(r'<div><img alt="" src="data:image/png;base64,(.*?)" style="left:(.*?)%;width:(.*?)%">', page)
    for tensor, (source, left, width) in zip(table_rows(page), images):
        columns = picture(base64.b64decode(source)).transpose(1, 0, 2).tolist()
        drawn[tensor] = float(left), float(width), [[tuple(pixel) for pixel in column] for column in columns]
    return drawn


def test_a_strip_marks_violations_without_colour_and_paints_no_step_that_does_not_exist() -> None:
    """Bars at the top and the bottom, stripes for what is not finite; it begins late where its tensor does."""
    ratios = {
        "all": [1e-3, 20.0, 1e-9, 0.0, math.nan, 1e-3],
        "late": [None, None, 1e-3, 1e-3, None, 1e-3],
    }
    drawn = strips(made_report(ratios))
    left, width, columns = drawn["all"]
    ok, large, small, unchanged, lost, _ = columns
    assert (left, width, len(columns)) == (0, 100, 6)
    assert len(set(ok)) == 1
    assert (large[0], large[-1] in (BLACK, WHITE)) == (BLACK, False)
    assert (small[0] in (BLACK, WHITE), small[-1]) == (False, BLACK)
    assert (unchanged[0], unchanged[-1]) == (WHITE, BLACK)
    assert {BLACK, WHITE} == set(lost)
    left, width, columns = drawn["late"]
    assert (left, width, len(columns)) == (33.333, 66.667, 4)
    assert {pixel[3] for pixel in columns[2]} == {0}, "what was not compared is the cell's grey"
    _, _, columns = strips(held({"grows": [2.0] * 8 + [9.0] * 12}))["grows"]
    assert (columns[-1][0], columns[-1][-1]) == (BLACK, BLACK), "a weight norm that drifted"


def test_no_bin_hides_one_spike_or_one_nan_or_claims_it_for_others() -> None:
    normal = [1e-3] * 1000
    one = {name: [*normal[:500], value, *normal[501:]] for name, value in (("spike", 20.0), ("lost", math.nan))}
    drawn = {name: columns for name, (_, _, columns) in strips(made_report(one)).items()}
    assert [number for number, column in enumerate(drawn["spike"]) if column[0] == BLACK] == [100]
    (lost,) = [column for column in drawn["lost"] if column[0] == BLACK]
    assert {BLACK, WHITE} == set(lost[:6])
    assert set(drawn["lost"][0]) == set(lost[6:]), "the finite ones of the bin have their colour"


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
    assert "eval" not in policy
    scripts = [text for kind, text in re.findall(r"<script(.*?)>(.*?)</script>", page, re.DOTALL) if not kind]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert hashes == set(re.findall(r"'sha256-(.*?)'", policy))


def test_what_it_leaves_out_it_says() -> None:
    """It draws 2,000 rows, prints 40 tensors and has 500 lines of what was skipped or unreadable."""
    ratios: dict[str, list[float]] = {f"rests{number}": [0.0] for number in range(2000)}
    report = made_report({**ratios, **{f"large{number}": [20.0] for number in range(50)}})
    report = report.with_facts(notes=[SkippedGroup("<b>", None, "saved only as a reduction (l2)", None, None, 1)])
    report.rows.add_unreadable(0, [Unreadable(f"file{n}", "t", "w", n, "is <gone>") for n in range(600)])
    page = report.to_html()
    text = text_of(page)
    for note in (
        "The 2,000 worst rows are drawn; 50 are left out.",
        "The 40 worst of 2,050 tensors.",
        "<b>: saved only as a reduction (l2)",
        "tensor t in file0 (global step 0): is <gone>",
        "and 100 more; --format json lists them all",
    ):
        assert note in text
    assert table_rows(page) == list(ratios)
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
    page = made_report({"a": [1e-3]}).with_facts(trial=trial).to_html()
    assert f"<title>{name}weight-update-ratio</title>" in page
    assert f'"filename":"{name}weight-update-ratio"' in page


def test_what_is_rare_is_drawn() -> None:
    """Large norms, steps beyond int32, no lower threshold, no finite ratio, violations at every second step."""
    report = made_report({"a": [1e-3, 1e-3], "b": [math.nan]}, Parameters(small_threshold=0.0))
    report.columns["step"][1] = 2**40
    report.columns["update_norm"][1] = 1e300
    assert report.to_html()
    assert made_report({f"t{number}": [20.0, 1e-3] * 110 for number in range(40)}).to_html()
