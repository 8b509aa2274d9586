"""The report in a real browser: what no parser sees. Not part of the tests, for it wants Chromium and playwright.

    apt-get install chromium && python -m venv BROWSER && BROWSER/bin/pip install playwright
    BROWSER/bin/python tests/browser.py results/report.html SHOTS

It fails, one line each, for a message on the console, a request to anywhere, a page or print that is wider than its window or paper, a filter,
a sort or a figure that does nothing, and what does not work without scripts. The screenshots (390 and 1400 pixels, light and dark) are for eyes.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WINDOWS = {1400: 900, 390: 844}
PAPERS = {"A4": 1032, "Letter": 965}  # width in pixels that a landscape sheet leaves between its margins
PLACES = ("ledger", "tables", "figures", "deviations", "provenance", "cost", "not-run")
TOO_WIDE = "[...document.querySelectorAll('table, img, p')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"


def opened(browser: Browser, file: Path, problems: list[str], **options) -> Page:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("request", lambda request: None if request.url.startswith(("data:", file.as_uri())) else problems.append(f"request: {request.url}"))
    page.goto(file.as_uri())
    return page


def looked_at(browser: Browser, file: Path, shots: Path, problems: list[str]) -> None:
    """Screenshots of every part at both widths, light and dark; nothing may be wider than the window."""
    for width, height in WINDOWS.items():
        for scheme in ("light", "dark"):
            page = opened(browser, file, problems, viewport={"width": width, "height": height}, color_scheme=scheme)
            if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
                problems.append(f"{width} pixels: the page is {found} wide")
            for place in PLACES:
                page.evaluate(f"document.getElementById('{place}').scrollIntoView()")
                page.screenshot(path=shots / f"{width}-{scheme}-{place}.png")
            page.context.close()


def tried(browser: Browser, file: Path, shots: Path, problems: list[str]) -> None:
    """Filters, sorting, a figure at full size, by mouse and keyboard."""
    page = opened(browser, file, problems, viewport={"width": 1400, "height": 900})
    shown = page.inner_text("#filter output")
    page.select_option("select[name=verdict]", index=1)
    page.screenshot(path=shots / "filtered.png")
    if page.inner_text("#filter output") == shown or page.locator(".claim.holds:visible").count():
        problems.append("the filter by verdict hides nothing")
    page.click("#filter button")
    if page.inner_text("#filter output") != shown:
        problems.append("Show all does not show all")
    table = page.locator("table.sortable").filter(has=page.locator(".marks")).first
    if table.count():
        names = table.locator("tbody th").all_inner_texts()
        table.locator("thead tr:last-child button").first.focus()
        page.keyboard.press("Enter")
        found = table.locator("tbody th").all_inner_texts()
        if found == names or sorted(found) != sorted(names) or not table.locator("[aria-sort=ascending]").count():
            problems.append("sorting by the first column changes nothing, or loses rows")
    if page.locator("a.whole").count():
        page.locator("a.whole").first.click()
        page.screenshot(path=shots / "whole.png")
        if not page.locator("dialog[open]").count():
            problems.append("a figure does not open")
        page.keyboard.press("Escape")
        if page.locator("dialog[open]").count() or page.evaluate("document.activeElement.className") != "whole":
            problems.append("Escape does not lead back to the figure")


def printed(browser: Browser, file: Path, shots: Path, problems: list[str]) -> None:
    """As PDF, and that no table is cut off on paper."""
    page = opened(browser, file, problems)
    page.pdf(path=shots / "report.pdf", prefer_css_page_size=True)
    page.emulate_media(media="print")
    for name, width in PAPERS.items():
        page.set_viewport_size({"width": width, "height": 700})
        if count := page.evaluate(TOO_WIDE):
            problems.append(f"{name}: {count} tables, pictures or paragraphs are cut off")


def without_script(browser: Browser, file: Path, shots: Path, problems: list[str]) -> None:
    page = opened(browser, file, problems, java_script_enabled=False)
    if page.locator("#filter").is_visible() or not page.locator(".claim").first.is_visible():
        problems.append("without script: a filter that does nothing shows, or claims do not")
    if page.locator("a.whole").count():
        page.locator("a.whole").first.click()
        page.screenshot(path=shots / "without-script.png")


def main(file: Path, shots: Path) -> int:
    shots.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    if file.stat().st_size > 12e6:
        problems.append(f"{file.stat().st_size / 1e6:.1f} MB, more than 12")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        for part in (looked_at, tried, printed, without_script):
            part(browser, file, shots, problems)
        browser.close()
    print("\n".join(dict.fromkeys(problems)) or "nothing found", f"screenshots: {shots}", sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2])))
