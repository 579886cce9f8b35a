"""Real tables, found through MEDEN_DATA or ../shared/data: strings, missing values, empty columns."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from meden._checks import InputError
from meden.data import Dataset, Encoder, as_dataset, make_folds, read_table

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))
EMPTY = ["m", "marvi", "corr", "jurofm", "s", "p"]
TABLES = [
    ("credit_g/credit_g.csv", "class", 1000, 2),
    ("ames_housing/ames_housing.csv", "SalePrice", 2930, 0),
    ("adult/adult.csv", "income", 48842, 2),
    ("shuttle/shuttle.parquet", "Class", 58000, 7),
    ("abalone/abalone.csv", "Class_Rings", 4177, 0),
    ("cnae_9/cnae_9.csv.gz", "Class", 1080, 9),
]


def path_of(name: str) -> Path:
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not at hand (MEDEN_DATA)")
    return DATA / name


def check_folds(data: Dataset) -> None:
    for fold in make_folds(data, 5, seed=0)[:2]:
        encoder = data.fit_encoder(fold.fit)
        inputs = data.features(encoder, fold.fit)
        assert inputs.shape == (len(fold.fit), encoder.num_inputs)
        assert float(inputs.mean(dim=0).abs().max()) <= 1.0
        scored = data.features(encoder, fold.score)
        assert bool(torch.isfinite(scored).all())
        copy = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
        assert torch.equal(data.features(copy, fold.score), scored)


@pytest.mark.parametrize(("name", "target", "num_rows", "num_classes"), TABLES, ids=[t[0] for t in TABLES])
def test_real_table(name: str, target: str, num_rows: int, num_classes: int) -> None:
    data = as_dataset(path_of(name), target=target)
    assert (data.num_rows, len(data.classes)) == (num_rows, num_classes)
    check_folds(data)


def test_empty_columns_are_named_and_can_be_dropped() -> None:
    path = path_of("anneal/anneal.csv")
    with pytest.raises(InputError) as caught:
        as_dataset(path, target="class")
    assert str(caught.value).endswith(", ".join(map(repr, EMPTY)) + "; drop them")
    data = as_dataset(path, target="class", drop=EMPTY)
    assert data.classes == ("1", "2", "3", "5", "U")
    check_folds(data)
    with pytest.warns(UserWarning, match=r"fewer rows than 10 folds are not scored in all of them: '1' \(8\)"):
        assert len(make_folds(data, 10, seed=0)) == 10


def test_a_file_of_new_rows_equals_the_rows_of_the_table() -> None:
    path = path_of("ames_housing/ames_housing.csv")
    data = as_dataset(path, target="SalePrice")
    encoder = data.fit_encoder(np.arange(data.num_rows))
    frame = read_table(path, as_text=encoder.text_columns)
    with pytest.warns(UserWarning, match="never or too rarely seen in training"):  # levels of a single house
        inputs = encoder.transform_frame(frame)
    assert torch.equal(inputs, data.features(encoder, np.arange(data.num_rows)))
