"""What MkDocs calls while it builds the site."""

import logging
from pathlib import Path

from builder import font
from builder.page import Page

log = logging.getLogger("mkdocs.hooks.jaxrl")
_pages = {}


def on_page_markdown(markdown, page, **_):
    """Run the page."""
    try:
        made = _pages[page.file.src_uri] = Page(markdown)
    except Exception as error:
        error.add_note(f"in docs/{page.file.src_uri}")
        raise
    log.info("%s: %d equations checked", page.file.src_uri, made.checked)
    return made.body


def on_page_content(html, page, **_):
    """Put equations, arrays and quotes in."""
    return _pages[page.file.src_uri].finish(html)


def on_post_build(config, **_):
    """Write the letters and signs of mathematics."""
    assets = Path(config["site_dir"]) / "assets"
    text = "".join(path.read_text() for path in Path(config["site_dir"]).rglob("*.html"))
    (assets / "math.woff").write_bytes(font.subset(set(text)))
