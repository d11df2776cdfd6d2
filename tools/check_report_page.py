#!/usr/bin/env python3
"""Opens a page of `artel compare -o PAGE` in headless Chromium and checks what a reader meets.

    python3 tools/check_report_page.py PAGE.html [--json COMPARE.json] [--shots DIRECTORY] [--chromium PATH]

Fails on console messages, on a page wider than its window (desktop and phone width, light and dark), on a reference to
anything outside the page, and on a number of the JSON (`artel compare … --json`) that the page's text does not hold. In
every state of the switch each figure must show one drawing, whose texts stay inside it and clear of one another;
pointing at a curve must show its numbers; every figure must save as SVG that parses, and its numbers as CSV. With
--shots it leaves screenshots in light and dark at both widths.
"""

import argparse
import html
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WIDTHS = {"desktop": 1280, "phone": 390}
SCHEMES = {"light": 1, "dark": 0}  # Chromium's preferredColorScheme
FRAME = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>:root {{color-scheme: light dark}}</style></head><body>
<iframe style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe><script>
onload = () => document.body.append(document.querySelector("iframe").contentDocument.getElementById("probe"));
</script></body></html>"""
PROBE = (pathlib.Path(__file__).parent / "report_page_probe.js").read_text()


class TextOf(html.parser.HTMLParser):
    """Collects text outside of style and script, and attributes that could load something."""

    def __init__(self):
        super().__init__()
        self.text, self.loads, self.skip = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.skip += tag in ("style", "script")
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data") and not (value or "").startswith(("#", "data:", "blob:")):
                self.loads.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag):
        self.skip -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.skip:
            self.text.append(data)


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def chromium(path, arguments):
    command = [path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    result = subprocess.run(command + arguments, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def check_in_browser(browser, page, shots):
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        probed = page.read_text().replace("</body>", f"<script>{PROBE}</script></body>")
        for name, width in WIDTHS.items():
            # In a frame: a window is at least 500 px wide.
            probe = pathlib.Path(scratch) / f"{name}.html"
            probe.write_text(FRAME.format(width=width, page=html.escape(probed)))
            for scheme, value in SCHEMES.items():
                view = [f"--window-size={width + 40},1000", f"--blink-settings=preferredColorScheme={value}"]
                dom, console = chromium(browser, view + ["--dump-dom", probe.as_uri()])
                found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
                report = json.loads(html.unescape(found.group(1))) if found else None
                if not report:
                    problems.append(f"{name} {scheme}: the page's script did not come to its end")
                elif report["width"] != width or report["dark"] != (scheme == "dark"):
                    problems.append(f"{name} {scheme}: the browser showed {report['width']} px, dark {report['dark']}")
                for problem in console + (report["problems"] if report else []):
                    problems.append(f"{name} {scheme}: {problem}")
                if shots:
                    shot = pathlib.Path(shots).resolve() / f"{page.stem}-{name}-{scheme}.png"
                    shot.parent.mkdir(parents=True, exist_ok=True)
                    tall = [f"--window-size={width},6000"] + view[1:]
                    chromium(browser, tall + [f"--screenshot={shot}", page.resolve().as_uri()])
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--shots")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium-browser")
    options = parser.parse_args()
    reader = TextOf()
    reader.feed(options.page.read_text())
    problems = [f"loads {load}" for load in reader.loads]
    if options.json:
        found = set(re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "".join(reader.text)))
        values = {float(text) for text in found}
        problems += [f"number {value} of the JSON is not in the page" for value in numbers(
            json.loads(options.json.read_text())) if float(value) not in values]
    problems += check_in_browser(options.chromium, options.page, options.shots)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{options.page}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
