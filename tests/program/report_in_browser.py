"""A report as its reader sees it, in a real Chromium: report_in_browser.py REPORT HOSTILE TREND.

REPORT is of the run that report.rs makes up: 36 s, 433 sessions idle in transaction from 10 s to 30 s in `held`.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
MIDDLE_S = 18.0


def check(is_so, what):
    if not is_so:
        sys.exit(f"not so: {what}")


class Reader:
    """A page, what it printed on the console, and what it asked the network for."""

    def __init__(self, browser, path, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.printed, self.asked, self.dialogs = [], [], []
        self.page.on("console", lambda message: self.printed.append(message.text))
        self.page.on("pageerror", lambda error: self.printed.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.url = Path(path).as_uri()
        self.page.goto(self.url)

    def check_quiet(self):
        check(not self.printed, f"no message on the console: {self.printed}")
        check(self.asked == [self.url], f"no request leaves the file: {self.asked}")
        check(not self.dialogs, f"no dialog: {self.dialogs}")

    def check_width(self):
        widths = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        check(widths[0] <= widths[1], f"the page is no wider than the window: {widths}")

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()


def painted(reader, panel):
    """Whether a chart's lines leave pixels: its picture differs from the one without them."""
    with_lines = panel.screenshot()
    panel.evaluate("svg => svg.querySelectorAll('.lines, .up, .down, .event').forEach(it => it.setAttribute('visibility', 'hidden'))")
    without = panel.screenshot()
    panel.evaluate("svg => svg.querySelectorAll('[visibility]').forEach(it => it.removeAttribute('visibility'))")
    return with_lines != without


def charts_are_painted(reader):
    panels = reader.page.locator(".panel svg.plot").all()
    check(len(panels) == 12, f"six charts of two variants: {len(panels)}")
    for index, panel in enumerate(panels):
        check(painted(reader, panel), f"chart {index} is painted")
    distribution = reader.page.locator("section[aria-labelledby=h-latency] svg.plot").first
    check(painted(reader, distribution), "the latency distribution is painted")


def hover_reads_one_instant_everywhere(reader):
    page = reader.page
    peaks = reader.texts("output[data-series]")
    check(len(peaks) == 18 and peaks[0] == "peak 433", f"at rest the peaks are shown: {peaks}")
    chart = page.locator(".panel svg.plot").nth(3)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    check(page.locator("#at").inner_text() == f"{MIDDLE_S:.1f} s", "the middle of the axis is 18 s")
    read = reader.texts("output[data-series]")
    check(read[0] == "433" and read[2] == "12", f"held and scoped at that instant: {read}")
    check(not any(text.startswith("peak") for text in read), f"all charts are read at once: {read}")
    places = page.eval_on_selector_all("#overtime .cursor", "all => [...new Set(all.map(it => it.getAttribute('x1')))]")
    check(places == ["50.000%"], f"one line through all charts: {places}")
    check(page.locator("#overtime .cursor").first.evaluate("it => getComputedStyle(it).visibility") == "visible", "it is seen")
    page.mouse.move(1, 1)
    check(reader.texts("output[data-series]") == peaks, "and at rest again the peaks")


def keyboard_reads_too(reader):
    page = reader.page
    slider = page.locator("#instant")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    check(page.locator("#at").inner_text() == "0.3 s", "three steps of 0.1 s")
    printed = slider.get_attribute("aria-valuetext")
    check("0.3 s" in printed and "held idle in transaction" in printed, f"a screen reader hears it: {printed}")
    page.keyboard.press("End")
    check(page.locator("#at").inner_text() == "36.0 s", "the end of the axis")
    page.keyboard.press("Escape")
    check(reader.texts("output[data-series]")[0] == "peak 433", "Escape lets go")


def routes_can_be_sorted(reader):
    page = reader.page
    button = page.locator("section[aria-labelledby=h-routes] th button").nth(2)
    column = "section[aria-labelledby=h-routes] tbody tr td:nth-child(3)"
    numbers = lambda: [float(cell.get_attribute("data-value")) for cell in page.locator(column).all()]
    button.click()
    check(numbers() == sorted(numbers(), reverse=True), "most requests first")
    button.focus()
    page.keyboard.press("Enter")
    check(numbers() == sorted(numbers()), "and the other way, by keyboard")
    check(page.locator("th[aria-sort=ascending]").count() == 1, "a screen reader hears it")


def the_policy_is_in_force(reader):
    """Last, since the browser says on the console what it has blocked."""
    page = reader.page
    reader.asked.clear()
    page.evaluate(
        """async () => {
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.body.append(script);
            const style = document.createElement('style');
            style.textContent = 'body { display: none }';
            document.body.append(style);
            const image = new Image();
            image.src = 'http://127.0.0.1:9/picture';
            document.body.append(image);
            await fetch('http://127.0.0.1:9/').catch(() => {});
        }"""
    )
    check(page.evaluate("window.injected") is None, "an injected script does not run")
    check(page.evaluate("getComputedStyle(document.body).display") != "none", "an injected style does nothing")
    check(len(reader.printed) >= 3, f"the browser says that it has blocked them: {reader.printed}")
    check(page.locator("h1").is_visible(), "the report is still there")


CONTRAST = """() => {
    const channels = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((it) => {
        const share = it / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    const light = (color) => { const [r, g, b] = channels(color); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const page = light(getComputedStyle(document.body).backgroundColor);
    const texts = [...document.querySelectorAll('p, th, td, summary, .key b, svg text')].filter((it) => it.getClientRects().length);
    const ratios = texts.map((it) => {
        const style = getComputedStyle(it);
        const own = it.closest('.warning') ? light(getComputedStyle(it.closest('.warning')).backgroundColor) : page;
        const ink = light(it instanceof SVGElement ? style.fill : style.color);
        return (Math.max(ink, own) + 0.05) / (Math.min(ink, own) + 0.05);
    });
    return [page, Math.min(...ratios)];
}"""


def main(report, hostile, trend):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        desktop = {"viewport": {"width": 1200, "height": 900}}
        reader = Reader(browser, report, **desktop)
        charts_are_painted(reader)
        hover_reads_one_instant_everywhere(reader)
        keyboard_reads_too(reader)
        routes_can_be_sorted(reader)
        reader.check_width()
        reader.check_quiet()
        lightness, contrast = reader.page.evaluate(CONTRAST)
        check(lightness > 0.9 and contrast >= 4.5, f"light, and every text can be read: {lightness} {contrast}")
        the_policy_is_in_force(reader)

        dark = Reader(browser, report, color_scheme="dark", **desktop)
        lightness, contrast = dark.page.evaluate(CONTRAST)
        check(lightness < 0.05 and contrast >= 4.5, f"dark, and every text can be read: {lightness} {contrast}")
        check(painted(dark, dark.page.locator(".panel svg.plot").first), "painted in the dark")
        dark.page.emulate_media(media="print")
        check(not dark.page.locator("#instant").is_visible(), "nothing to operate on paper")
        check(dark.page.evaluate(CONTRAST)[0] > 0.9, "paper is white")
        dark.check_quiet()

        phone = Reader(browser, report, viewport={"width": 400, "height": 800}, has_touch=True)
        phone.check_width()
        check(painted(phone, phone.page.locator(".panel svg.plot").first), "painted on a phone")
        phone.page.locator(".panel svg.plot").first.tap()
        check(phone.page.locator("#overtime.reading").count() == 1, "a touch reads an instant")
        phone.check_quiet()

        plain = Reader(browser, report, java_script_enabled=False, **desktop)
        check(plain.page.locator(".panel svg.plot .line").count() >= 18, "without JavaScript the charts are there")
        check(painted(plain, plain.page.locator(".panel svg.plot").first), "and painted")
        check(not plain.page.locator("#instant").is_visible(), "and nothing that would not work")

        for path in (hostile, trend):
            for size in (1200, 400):
                other = Reader(browser, path, viewport={"width": size, "height": 800})
                other.check_quiet()
                other.check_width()
        browser.close()
    print("all as it must be")


main(*sys.argv[1:])
