"""Pipelines that leak, really trained: each is named by its code from its logs or its split, and its twin is not."""

import pytest

from meden import diagnose
from tests.diagnosis.leaks import LEAKS

SEEN: dict[str, tuple[set[str], set[str]]] = {
    "stop_is_test": ({"stop_loss_scored"}, {"stop_rows_scored"}),
    "scaler_on_all": (set(), {"scaled_on_all"}),
    "target_encoding_on_all": (set(), {"target_encoded_on_all"}),
    "groups_torn": (set(), {"groups_torn"}),
    "weights_kept": ({"weights_carried"}, set()),
    "duplicates_across": (set(), {"rows_across", "stop_rows_scored"}),
}
"""Codes from the logs alone and from the split alone; what is empty cannot be seen there."""


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_named_and_its_twin_has_nothing_above_info(name):
    for honest, expected in ((False, SEEN[name]), (True, (set(), set()))):
        outcome = LEAKS[name](honest)
        logs = diagnose(outcome.logs).findings
        splits = [finding for split in outcome.splits for finding in diagnose(split).findings]
        assert ({f.code for f in logs if f.severity != "info"}, {f.code for f in splits}) == expected
