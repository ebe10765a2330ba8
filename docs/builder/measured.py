"""What a study measured, read from results/ when a page is made: its table, and its figure."""

import base64
import json

from builder.quotes import ROOT


def table(path: str) -> str:
    """The rows of results/PATH.json in Markdown: what was found, beside what is known of it."""
    result = json.loads((ROOT / "results" / f"{path}.json").read_text())
    lines = ["| | found | known | from |", "|---|---|---|---|"]
    lines += [
        f"| {r['what']} | {_number(r['found'])} | {_number(r['known'])} | {r['source']} |" for r in result["rows"]
    ]
    about = f"Commit `{result['commit']}`, {result['seconds']:.0f} seconds on {result['machine']}."
    return "\n".join([*lines, "", about, ""])


def picture(path: str, words: str) -> str:
    """The figure results/PATH.png as HTML, with what it shows in words."""
    data = base64.b64encode((ROOT / "results" / f"{path}.png").read_bytes()).decode()
    return f'<img alt="{words}" src="data:image/png;base64,{data}">'


def _number(value) -> str:
    return "–" if value is None else f"{value:,.5g}".replace("-", "−")
