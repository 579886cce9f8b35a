"""Which language is shown: the one that MEDEN_LANG names, else that of the locale, else English."""

from __future__ import annotations

import os
from typing import Literal

from meden._checks import InputError

Language = Literal["en", "zh"]
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
"""In the order of POSIX: the first that is set and not empty decides."""


def language() -> Language:
    """Return the language of what people read; any Chinese, of Taiwan too, is shown simplified.

    Raises:
        InputError: if MEDEN_LANG names another than English or Chinese.

    Example:
        >>> os.environ["MEDEN_LANG"] = "zh_CN.UTF-8"
        >>> language()
        'zh'
        >>> os.environ["MEDEN_LANG"] = "en"
        >>> language()
        'en'
    """
    wanted = os.environ.get("MEDEN_LANG", "")
    if not wanted:
        set_to = next(filter(None, (os.environ.get(name) for name in LOCALE)), "")
        return "zh" if _named(set_to) == "zh" else "en"
    if (named := _named(wanted)) == "zh":
        return "zh"
    if named == "en":
        return "en"
    raise InputError(f"MEDEN_LANG must be en or zh, or a locale of theirs such as zh_CN.UTF-8, got {wanted!r}")


def _named(locale: str) -> str:
    """Return the language that a locale names, such as ``zh`` of ``zh-CN.UTF-8``; nothing if it names no Unicode."""
    name, _, encoding = locale.partition("@")[0].partition(".")
    unicode = encoding.lower().replace("-", "") in ("", "utf8")
    return name.replace("-", "_").partition("_")[0].lower() if unicode else ""
