"""The sentence for a name that is not known: what was given, and the nearest names that are."""

import difflib
from collections.abc import Iterable

FEW = 12  # so many names are all shown where none is near


def nearest(name, known: Iterable[str], count: int = 2) -> list[str]:
    """At most `count` names that are near one, without regard to case; where none is near, all, if they are few.

    The nearest is the one that it begins with, if there is one: `--env` for `--enviroment`.
    """
    names = {str(each).lower(): str(each) for each in known}
    if begun := [each for each in names if each and str(name).lower().startswith(each)]:
        return [names[max(begun, key=len)]]
    found = difflib.get_close_matches(str(name).lower(), names, n=count)
    if not found:
        few = len(names) <= FEW
        found = names if few else difflib.get_close_matches(str(name).lower(), names, n=count, cutoff=0)
    return [names[each] for each in found]


def unknown(what: str, name, known: Iterable[str], where: str = "") -> ValueError:
    """A ValueError to raise: there is no such name; did you mean the nearest?"""
    near = " or ".join(nearest(name, known))
    return ValueError(f"there is no {what} {name!r}{where and ' '}{where}; did you mean {near}?")
