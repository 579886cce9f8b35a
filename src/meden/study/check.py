"""What is wrong with a table, or with a split of it, before anything is trained."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meden._checks import InputError, nearest
from meden._shown import Pair, Shown
from meden.data import Dataset
from meden.data.columns import Values
from meden.data.dataset import with_warning
from meden.data.faults import Faults, read_with_faults
from meden.data.moments import moments_of
from meden.data.reading import ReadOptions
from meden.data.tables import Table as ReadTable
from meden.diagnosis import Finding, Rule, applying, chosen_rules, examine
from meden.diagnosis.tables.division import division
from meden.diagnosis.tables.suspects import Suspects, suspects
from meden.diagnosis.tables.table import FOLDS, Table, parts_of
from meden.report import Format
from meden.report.checked import check_report
from meden.report.files import write


@dataclasses.dataclass(frozen=True, repr=False)
class Check(Shown):
    """The result of :func:`meden.check`; prints one line per finding.

    Attributes:
        findings: what stands out.
        table: what was looked at.
        rules: what was looked for.
    """

    findings: tuple[Finding, ...]
    table: Table
    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing stands out"

    def _pairs(self) -> Iterable[Pair]:
        yield "rows", self.table.num_rows
        yield "findings", [finding.code for finding in self.findings]
        yield from ((f"{finding.severity} {finding.code}", finding.sentences) for finding in self.findings)

    @property
    def suspects(self) -> Suspects | None:
        """Rows whose label is probably wrong, if they were looked for."""
        return self.table.known(suspects)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        found = {"findings": [dataclasses.asdict(finding) for finding in self.findings]}
        shape = {"num_rows": self.table.num_rows, "num_columns": len(self.table.columns)}
        about = {"target": self.table.dataset.target, "task": self.table.dataset.task}
        return {**shape, **about, **found, "suspects": self._suspected(), "rules": [rule.code for rule in self.rules]}

    def _suspected(self) -> list[dict[str, Any]]:
        """Return the suspects, if a rule found that they are some."""
        doubted = self.suspects
        if doubted is None or not any(finding.code == "label_suspects" for finding in self.findings):
            return []
        return doubted.to_dicts(self.table.dataset.classes)

    def report(self, path: Path | str, format: Format = "html") -> Path:
        """Write what was found as one page and return where it is.

        Args:
            path: of the file.
            format: ``"html"``, a page that opens offline, or ``"md"``, Markdown without the charts.

        Raises:
            InputError: if ``path`` is a folder or cannot be written, or the format is another.
        """
        return write(check_report(self.table, self.findings, self.rules), path, format)


def check(
    data: Any,
    *,
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    order: Any = None,
    split: Any = None,
    folds: int = FOLDS,
    drop: Sequence[str] = (),
    read: Mapping[str, str] | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    na: Sequence[str] = (),
    seed: int = 0,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    rules: Sequence[Rule] = (),
) -> Check:
    """Check a table, or a split of it, for problems before training.

    It looks for the target among the inputs, for columns that name rows, their order or their group, for rows that are
    there twice, labels that are probably wrong, classes too rare, numbers stored as text, missing values that tell
    the target, neighbours that are alike, and, with ``split`` or ``order``, for rows that come from elsewhere; with
    ``split`` also for rows and groups on both sides, for later rows that fit, and for columns that were scaled or
    encoded by all rows. A rule that tests says something of a table in which there is nothing in 1 % of the cases,
    over all columns together. Of large tables up to 50,000 rows are looked at, of which 4,000 by rules that train.

    Args:
        data: as for :func:`meden.as_dataset`.
        target: the target column of a table.
        task: ``"classification"`` or ``"regression"``; None to infer it from the target.
        groups: a column, or labels (n,): rows of one group are one thing.
        order: a column of numbers or dates, or values (n,), that sort the rows in time.
        split: a column, or words (n,): ``"fit"`` (or ``"train"``), ``"stop"`` (``"valid"``), ``"score"`` (``"test"``)
            of each row. None where the rows are to be divided at random.
        folds: that the rows are to be divided into, 2 or more.
        drop: columns of a table to leave out.
        read: how columns are to be read.
        sep: what separates the fields of a text file.
        decimal: ``"."`` or ``","``.
        na: what stands for a missing value.
        seed: of what is drawn: rows of large tables, forests and permutations.
        select: codes or families of rules to go by; none given is all. ``meden check --list`` shows them.
        ignore: codes or families to leave out, also of those selected.
        rules: more rules on a :class:`meden.diagnosis.tables.table.Table` or a :class:`meden.diagnosis.Split`.

    Returns:
        The findings; print them, read their ``code``, ``severity``, ``message``, ``advice``, ``command``, ``value`` and
        ``interval``, or write a page with ``report``.

    Raises:
        InputError: if a code is unknown, no rule is left that applies, or in one line whatever cannot be used of data
            and arguments.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> x = np.random.default_rng(1).standard_normal(50)
        >>> frame = pd.DataFrame({"key": range(50), "x": x, "pounds": 3 * x + 1, "kilos": 1.36 * x + 0.45})
        >>> [finding.code for finding in check(frame, target="kilos", select=["data"]).findings]
        ['target_copy', 'identifier_column', 'order_column']
    """
    chosen = chosen_rules(select, ignore, rules)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*like an identifier or free text")  # a rule says it
        options = ReadOptions(read=read or {}, sep=sep, decimal=decimal, na=na)
        dataset, faults = read_with_faults(data, target=target, task=task, groups=groups, drop=drop, options=options)
        if dataset is not data:
            with_warning(dataset)
    table = table_of(dataset, order=order, split=split, folds=folds, seed=seed, faults=faults)
    evidence = [part for part in (table, division(table)) if part is not None]
    looked_for = applying(chosen, evidence, "a table" if len(evidence) == 1 else "a table or its split")
    return Check(examine(evidence, looked_for), table, looked_for)


def table_of(
    dataset: Dataset,
    *,
    order: Any = None,
    split: Any = None,
    folds: int = FOLDS,
    seed: int = 0,
    faults: Faults | None = None,
) -> Table:
    """Return a data set as evidence, with what was left out of it.

    Raises:
        InputError: if it has fewer than two rows, or an argument does not fit it.
    """
    if dataset.num_rows < 2:
        raise InputError(f"data must have at least two rows, got {dataset.num_rows}")
    faults = faults or Faults()
    order, words = (_of_rows(given, faults) for given in (order, split))
    moments = None if order is None else moments_of(dataset, order)
    if isinstance(split, str):
        dataset, words = _without_split(dataset, split)
    return Table(
        dataset=dataset,
        moments=moments,
        order=order if isinstance(order, str) else None,
        split=None if words is None else parts_of(words, dataset.num_rows),
        divider=split if isinstance(split, str) else None,
        folds=folds,
        faults=faults,
        places=faults.rows,
        seed=seed,
    )


def _of_rows(given: Any, faults: Faults) -> Any:
    """Return what is given for the rows that were read; the name of a column is left as it is."""
    if given is None or isinstance(given, str) or faults.rows is None or len(given) <= int(faults.rows[-1]):
        return given
    return np.asarray(given)[faults.rows]


def _without_split(dataset: Dataset, split: str) -> tuple[Dataset, Values]:
    """Return a data set without the column that divides it, and what that holds, (n,)."""
    columns = dataset.inputs.values if isinstance(dataset.inputs, ReadTable) else {}
    if not isinstance(dataset.inputs, ReadTable) or split not in columns:
        raise InputError(f"split must be a column of the table, got {split!r}{nearest(split, columns)}")
    others = [name for name in columns if name != split]
    if not others:
        raise InputError(f"the table must have a column besides the target and the split, got only {split!r}")
    return dataclasses.replace(dataset, inputs=dataset.inputs.only(others)), columns[split]
