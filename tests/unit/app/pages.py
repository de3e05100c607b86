"""Reading a page as a strict parser does, and what every page of ours promises."""

from __future__ import annotations

import re
from xml.etree import ElementTree

__all__ = ["breaches", "read_page", "rows"]

LOADS = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")


def read_page(content: str) -> ElementTree.Element:
    """The root; raises ParseError where a tag is not closed or text is not escaped."""
    assert content.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(content)


def breaches(root: ElementTree.Element) -> list[str]:
    """What a page may not have: anything loaded from elsewhere, handlers in attributes, a second script."""
    found = []
    for element in root.iter():
        if element.tag in ("link", "img", "iframe", "object", "embed", "base", "image", "use"):
            found.append(element.tag)
        found += [f"{element.tag} {key}" for key in element.attrib if key in LOADS or key.startswith("on")]
        words = " ".join([*element.attrib.values(), (element.text or "") if element.tag in ("style", "script") else ""])
        found += re.findall(r"url\(|@import|https?:|fetch\(|XMLHttpRequest", words)
    scripts = [place for place, element in enumerate(root.iter()) if element.tag == "script"]
    return found + ["a second script"] * (len(scripts) - 1)


def rows(root: ElementTree.Element) -> list[list[str]]:
    """The cells of all rows of all tables."""
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
