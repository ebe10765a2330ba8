"""The sentence for a name that is not known: what was given, and the nearest names that are."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name, known: Iterable[str], where: str = "", count: int = 2) -> ValueError:
    """A ValueError to raise: there is no such name; did you mean one of the (at most `count`) nearest?

    Names are compared without regard to case. Where none is near, all are listed, unless there are more than 12.
    """
    names = {str(each).lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), names, n=count)
    if not near:
        few = len(names) <= 12
        near = list(names) if few else difflib.get_close_matches(str(name).lower(), names, n=count, cutoff=0)
    nearest = " or ".join(str(names[each]) for each in near)
    return ValueError(f"there is no {what} {name!r}{where and ' '}{where}; did you mean {nearest}?")
