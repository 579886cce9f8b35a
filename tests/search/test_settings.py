"""Settings as a whole, or their fields by themselves: one meaning, one check."""

import numpy as np
import pytest

import meden
from meden import InputError, Recipe
from meden.models import MLP
from meden.search import CV, Limits, Workers, nested, tune
from meden.search.settings import CVFields, LimitsFields, WorkersFields
from meden.study.ledger import LEDGER

SPACE = {"l2": meden.LogUniform(1e-3, 1.0)}
RECIPE = Recipe(epochs=2, batch_size=64)


def search(**changes):
    return tune(MLP, "iris", SPACE, strategy="random", recipe=RECIPE, **changes)


def test_whole_settings_and_their_fields_are_the_same_study(tmp_path):
    whole = search(cv=CV(folds=2, seeds=2), limits=Limits(budget=2), workers=Workers(jobs=1), study_dir=tmp_path)
    ledger = (tmp_path / LEDGER).read_bytes()
    fields = search(folds=2, seeds=2, budget=2, jobs=1, study_dir=tmp_path)
    assert (tmp_path / LEDGER).read_bytes() == ledger, "it is the same study, and was complete"
    np.testing.assert_array_equal(whole.trials[1].fold_losses, fields.trials[1].fold_losses)


def test_fields_go_together_with_settings_of_another_kind():
    study = search(cv=CV(folds=2, stop_fraction=0.3), budget=1)
    assert len(study.folds) == 2 and len(study.folds[0].stop) == 22 and len(study.trials) == 1


CALLS = {
    "tune": lambda **options: tune(MLP, "iris", SPACE, **options),
    "compare": lambda **options: meden.compare(MLP, "iris", {"none": None, "L2": {"l2": 0.1}}, **options),
    "nested": lambda **options: nested(MLP, "iris", SPACE, **options),
    "path": lambda **options: meden.path(MLP, "iris", **options),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fold": 3}, "there is no argument 'fold'; did you mean 'folds'?"),
        ({"cv": CV(), "folds": 3, "seeds": 2}, "folds, seeds must be given either in cv or as arguments, got both"),
        ({"cv": 5}, "cv must be a meden.search.CV, got 5"),
        ({"workers": 2}, "workers must be a meden.search.Workers, got 2"),
        ({"folds": 1}, "folds must be a whole number of at least 2, got 1"),
        ({"folds": 2.5}, "folds must be a whole number of at least 2, got 2.5"),
        ({"seeds": True}, r"seeds must be a whole number in \[1, 1000\], got True"),
        ({"stop_fraction": 0.6}, r"stop_fraction must be a finite number in \[0, 0.5\], got 0.6"),
        ({"jobs": "two"}, "jobs must be a whole number of at least 1, got 'two'"),
        ({"backend": "slurm"}, "backend must be one of local, ray, got 'slurm'"),
        ({"address": "auto"}, "address must be given only with backend 'ray', got 'auto' with backend 'local'"),
    ],
)
def test_what_is_out_of_range_is_one_line_wherever_it_is_given(call, options, told):
    with pytest.raises(InputError, match=told) as caught:
        CALLS[call](**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limits": 64}, "limits must be a meden.search.Limits, got 64"),
        ({"budget": 0}, r"budget must be a whole number in \[1, 1000000\], got 0"),
        ({"epochs_budget": 1.5}, "epochs_budget must be a whole number of at least 1, got 1.5"),
        ({"time_limit": 0}, "time_limit must be a finite number above 0, got 0"),
    ],
)
def test_limits_out_of_range(options, told):
    for call in ("tune", "nested"):
        with pytest.raises(InputError, match=told):
            CALLS[call](**options)


@pytest.mark.parametrize(("kind", "fields"), [(CV, CVFields), (Limits, LimitsFields), (Workers, WorkersFields)])
def test_every_field_may_be_given_by_itself(kind, fields):
    assert list(fields.__annotations__) == list(kind.model_fields)


def test_settings_say_which_field_they_lack():
    with pytest.raises(InputError, match="CV has no field 'fold'; did you mean 'folds'"):
        CV(fold=3)
