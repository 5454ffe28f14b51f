"""A page opened in a browser, and what is measured in it."""

import re

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069]")
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
DRAWN = "html[data-drawn=all]"
CONTRAST = """() => {
  const light = (c) => c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = (element) => {
    const over = []; // shades that let through what is behind them
    let ground = [255, 255, 255];
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) { ground = c.slice(0, 3); break; }
      if (c[3]) over.push(c);
    }
    return over.reduceRight((below, c) => below.map((v, i) => c[3] * c[i] + (1 - c[3]) * v), ground);
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest("script, style, noscript, .skip")) continue;
    const style = getComputedStyle(e), inFigure = e instanceof SVGElement;
    if (!e.getBoundingClientRect().width) continue;
    const ink = parse(inFigure ? style.fill : style.color), a = light(ink.slice(0, 3)), b = light(behind(e));
    found.push({ ratio: (Math.max(a, b) + .05) / (Math.min(a, b) + .05), text: e.textContent.slice(0, 40), inFigure });
  }
  return found;
}"""


def open_page(browser, address, *, width=1280, **options):
    """Open an address in a context of its own; what the page says, asks for and gets is kept on it."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.said, page.asked, page.got, page.dialogs = [], [], [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("requestfinished", lambda request: page.got.append(request.url))
    page.goto(address)
    if options.get("java_script_enabled", True):
        page.wait_for_selector(DRAWN, state="attached")
    return page
