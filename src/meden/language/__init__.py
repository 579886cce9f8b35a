"""The language of terminal and pages: English, or Chinese. What programs read stays English.

Example:
    >>> translated("no such folder")  # with MEDEN_LANG=zh: 没有这个文件夹
    'no such folder'
"""

from meden.language.catalogue import translated
from meden.language.chosen import language
from meden.language.own import Own

__all__ = ["Own", "language", "translated"]
