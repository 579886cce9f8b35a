"""Pipelines that leak, really trained: each is named by its code from its logs, table or split; its twin is not."""

import numpy as np
import pytest

import meden
from meden import diagnose
from tests.diagnosis.leaks import LEAKS

SEEN: dict[str, tuple[set[str], set[str], set[str]]] = {
    "stop_is_test": ({"stop_loss_scored"}, set(), {"stop_rows_scored"}),
    "scaler_on_all": (set(), set(), {"scaled_on_all"}),
    "target_encoding_on_all": (set(), set(), {"target_encoded_on_all"}),
    "groups_torn": (set(), set(), {"groups_torn"}),
    "weights_kept": ({"weights_carried"}, set(), set()),
    "duplicates_across": (set(), {"duplicate_rows", "like_neighbours"}, {"rows_across", "stop_rows_scored"}),
}
"""Codes from the logs alone, from the table alone and from the split alone; what is empty cannot be seen there."""


def told(found):
    return {finding.code for finding in found.findings if finding.severity != "info"}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_named_and_its_twin_has_nothing_above_info(name):
    for honest, expected in ((False, SEEN[name]), (True, (set(), set(), set()))):
        outcome = LEAKS[name](honest)
        table = meden.check(outcome.table, target="y", task="classification")
        splits = set().union(*(told(diagnose(split)) for split in outcome.splits))
        assert (told(diagnose(outcome.logs)), told(table), splits) == expected


@pytest.mark.parametrize(("name", "groups"), [("groups_torn", "patient"), ("duplicates_across", None)])
def test_a_table_with_a_column_that_divides_it_is_named_as_its_split_is(name, groups):
    for honest, expected in ((False, SEEN[name][2]), (True, set())):
        outcome = LEAKS[name](honest)
        part = np.full(len(outcome.table), "train", dtype=object)
        for word, rows in zip(
            ("valid", "test"), (outcome.splits[0].folds[0].stop, outcome.splits[0].folds[0].score), strict=True
        ):
            part[rows] = word
        table = outcome.table.assign(part=part)
        found = meden.check(table, target="y", task="classification", groups=groups, split="part", select=["honesty"])
        assert told(found) == expected
