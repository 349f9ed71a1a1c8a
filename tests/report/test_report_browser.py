"""The pages in a browser: Chromium as the system has it, driven by Playwright; skipped where there is none.

Nothing is fetched and nothing complained of, filters, sorting and links work by mouse and by keyboard, axe-core finds
nothing, names do nothing, and the layout holds on wide and narrow screens, in light and dark, and on paper.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import batch, comparison, converted, sliding

from fc2conv.report.html import render
from fc2conv.report.types import Document, Report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

expect = playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --in-process-gpu --renderer-process-limit=1"
).split()
WIDTHS = (1280, 360)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is found on PATH")


@dataclass
class Tab:
    """A page in the browser, and all that it fetched or complained of."""

    page: playwright.Page
    said: list[str]
    fetched: list[str]

    @property
    def shown(self) -> list[str]:
        """The models in the index, as they are ordered and filtered."""
        rows = self.page.locator("table.index tbody tr:visible")
        return [str(row.get_attribute("data-model")) for row in rows.all()]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.BrowserContext]:
    """A window in which all pages are opened, as a process for each takes more than most pages."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started.new_context(viewport={"width": 1280, "height": 800})
        started.close()


@pytest.fixture
def show(browser: playwright.BrowserContext, tmp_path: Path) -> Iterator[Callable[[Document], Tab]]:
    """Opens a document's page; when the test is done, nothing else was fetched, and nothing complained of."""
    tabs = []

    def opened(document: Document) -> Tab:
        path = tmp_path / f"page{len(tabs)}.html"
        path.write_bytes(render(document))
        tab = Tab(browser.new_page(), [], [])
        tab.page.on("console", lambda message: tab.said.append(message.text))
        tab.page.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.page.on("request", lambda request: tab.fetched.append(request.url))
        tab.page.goto(path.as_uri())
        tabs.append((tab, path))
        return tab

    yield opened
    for tab, path in tabs:
        assert tab.said == []
        assert {url.partition("#")[0] for url in tab.fetched} <= {path.as_uri(), "data:,"}
        tab.page.close()


@pytest.fixture(scope="module")
def documents(vgg: Report, failed: Report, strange: Report) -> dict[str, Document]:
    return {
        "sliding": sliding(),
        "branching": converted("two_heads", Path(vgg.output.path).parent) if vgg.output else vgg,
        "differs": failed,
        "hostile": strange,
        "comparison": comparison("lenet", "mini_vgg"),
        "batch": batch([vgg, failed, strange], 10),
    }


KINDS = ("sliding", "branching", "differs", "hostile", "comparison", "batch")


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(kind: str, documents: dict[str, Document], show: Callable[[Document], Tab]) -> None:
    tab = show(documents[kind])
    unfold(tab, "details" if kind != "batch" else "details:not(.model), #m1, #m2")
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):  # only colours change
        tab.page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(tab.page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        assert not found, [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_holds(kind: str, documents: dict[str, Document], show: Callable[[Document], Tab]) -> None:
    """Nothing sticks out of the page or of a drawn node, folded or not, whatever the names are."""
    tab = show(documents[kind])
    for state in ("folded", "unfolded"):
        if state == "unfolded":
            unfold(tab, "details")
        for width in WIDTHS:
            tab.page.set_viewport_size({"width": width, "height": 800})
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, (state, width)
    sticking_out = """() => [...document.querySelectorAll('.node > text')].filter(text => {
        const box = text.parentElement.querySelector('rect').getBBox(), own = text.getBBox();
        return own.x < box.x - 4 || own.x + own.width > box.x + box.width + 4;
    }).map(text => text.textContent)"""
    assert tab.page.evaluate(sticking_out) == []


def test_no_name_does_anything(strange: Report, show: Callable[[Document], Tab]) -> None:
    for document in (strange, batch([strange], 45)):
        tab = show(document)
        unfold(tab, "details")
        assert "run" not in tab.page.title().replace("<script>document.title = 'run'</script>", "")
        assert tab.page.locator("script").count() == 1
        assert tab.page.locator("img, iframe, object, embed, form").count() == 0
        hooked = "[...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => a.name.startsWith('on')))"
        assert tab.page.evaluate(hooked) is False


def test_the_policy_stops_what_is_not_the_page(vgg: Report, show: Callable[[Document], Tab]) -> None:
    tab = show(vgg)
    tab.page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = "document.title = 'run'";
        document.body.append(script);
    }""")
    assert tab.page.title() != "run"
    assert tab.said
    assert all("Content Security Policy" in line for line in tab.said)
    tab.said.clear()


def test_counterparts_light_up_and_are_linked(vgg: Report, show: Callable[[Document], Tab]) -> None:
    tab = show(vgg)
    page = tab.page
    link = page.locator(".graph a", has_text="Gemm").first
    target = str(link.get_attribute("href")).removeprefix("#")
    other = page.locator(f"[id='{target}']")
    assert "Conv" in str(other.text_content())
    link.hover()
    assert other.get_attribute("class") == "lit"
    page.mouse.move(0, 0)
    assert other.get_attribute("class") == ""
    link.focus()
    assert other.get_attribute("class") == "lit"
    page.keyboard.press("Enter")
    expect(other).to_be_focused()
    page.keyboard.press("Enter")
    expect(link).to_be_focused()


def test_a_batch_is_filtered_by_click_and_by_keyboard(
    documents: dict[str, Document], show: Callable[[Document], Tab]
) -> None:
    tab = show(documents["batch"])
    page, count = tab.page, len(tab.shown)
    chip = page.locator(".chip[data-outcome=converted]")
    wanted = page.locator("tbody tr[data-outcome=converted]").count()
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    assert len(tab.shown) == count - wanted
    assert page.locator("#shown").text_content() == f"{count - wanted} of {count} models"
    assert page.locator("details.model:visible").count() == count - wanted
    chip.focus()
    page.keyboard.press("Space")
    assert len(tab.shown) == count
    page.get_by_label("Name, message or reason holds").focus()
    page.keyboard.type("said MODEL 5")
    assert len(tab.shown) == 1
    page.keyboard.type(" or none")
    assert tab.shown == []
    assert page.locator("#none").is_visible()


def test_a_batch_is_sorted_by_click_and_by_keyboard(
    documents: dict[str, Document], show: Callable[[Document], Tab]
) -> None:
    tab = show(documents["batch"])
    page = tab.page

    def seconds() -> list[float]:
        return [float(str(cell)) for cell in page.locator("table.index tbody td:nth-of-type(5)").all_text_contents()]

    button = page.get_by_role("button", name="Seconds")
    heading = page.locator("th", has=button)
    button.click()
    assert seconds() == sorted(seconds())
    assert heading.get_attribute("aria-sort") == "ascending"
    button.focus()
    page.keyboard.press("Enter")
    assert seconds() == sorted(seconds(), reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("th[aria-sort]").count() == 1
    order = [str(each.get_attribute("id")) for each in page.locator("details.model").all()]
    assert order == tab.shown


def test_a_link_of_the_index_unfolds_its_model(documents: dict[str, Document], show: Callable[[Document], Tab]) -> None:
    page = show(documents["batch"]).page
    page.locator("tbody a[href='#m3']").click()
    expect(page.locator("#m3")).to_have_attribute("open", "")
    expect(page.locator("#m3 > summary")).to_be_focused()
    page.locator("tbody a[href='#m7']").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#m7 > summary")).to_be_focused()
    expect(page.locator("#m7")).to_have_attribute("open", "")
    page.keyboard.press("Space")
    expect(page.locator("#m7")).not_to_have_attribute("open", "")


def test_every_control_is_reached_by_keyboard(documents: dict[str, Document], show: Callable[[Document], Tab]) -> None:
    page = show(documents["batch"]).page
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.className || document.activeElement.id"))
    assert {"skip", "chip", "filter", "scroll", "sort"} <= seen


def test_light_and_dark(vgg: Report, show: Callable[[Document], Tab]) -> None:
    page = show(vgg).page

    def brightness(what: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.documentElement)['{what}']")
        return sum(map(float, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 765

    page.emulate_media(color_scheme="light")
    assert brightness("backgroundColor") > 0.9 > 0.3 > brightness("color")
    page.emulate_media(color_scheme="dark")
    assert brightness("backgroundColor") < 0.2 < 0.8 < brightness("color")


def test_paper_shows_what_is_folded(vgg: Report, show: Callable[[Document], Tab]) -> None:
    page = show(vgg).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not(.words):not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.pdf(format="A4").startswith(b"%PDF")


def unfold(tab: Tab, what: str) -> None:
    tab.page.evaluate("what => document.querySelectorAll(what).forEach(each => { each.open = true; })", what)
