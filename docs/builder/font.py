"""The mathematical font, cut down to what the site uses, so that brackets and roots grow in every browser."""

import io
from importlib import util
from pathlib import Path

from fontTools import subset as subsetter

# What browsers draw for <mi>.
SLANTED = {chr(0x1D434 + i) for i in range(52)} | {chr(0x1D6FC + i) for i in range(25)} | {"ℎ"}


def subset(characters: set[str]) -> bytes:
    """STIX Two Math (SIL Open Font License), which the package ziamath carries, with these characters, as WOFF."""
    options = subsetter.Options(flavor="woff")
    package = Path(util.find_spec("ziamath").origin).parent
    font = subsetter.load_font(str(package / "fonts" / "STIXTwoMath-Regular.ttf"), options)
    cut = subsetter.Subsetter(options)
    cut.populate(unicodes=map(ord, characters | SLANTED | set(map(chr, range(32, 127)))))
    cut.subset(font)
    out = io.BytesIO()
    font.flavor = "woff"
    font.save(out)
    return out.getvalue()
