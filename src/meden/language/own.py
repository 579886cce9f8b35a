"""Names that no language changes."""

from __future__ import annotations


class Own(str):
    """A name of the user's, such as a column or a label: it is shown as it is, though it may equal a word of meden's.

    Example:
        >>> Own("loss") == "loss"
        True
    """

    __slots__ = ()
