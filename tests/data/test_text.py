"""Texts: how they are cut, and a vocabulary that knows the fitting rows only."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer

from meden._checks import InputError
from meden.data import Vocabulary, read_table, split_text

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.parametrize(
    ("text", "unit", "tokens"),
    [
        ("A man's well-made film .", "word", ["a", "man's", "well-made", "film", "."]),
        ("tab\tand\nline", "word", ["tab", "and", "line"]),
        ("Ünïcode 12.5%", "word", ["ünïcode", "12", ".", "5", "%"]),
        ("a B\n", "character", ["a", " ", "b", "\n"]),
        ("同步A股首秀：港股缩量", "chinese", [*"同步", "a", *"股首秀", ":", *"港股缩量"]),  # noqa: RUF001
        ("ＩＴ 2012年(组图)", "chinese", ["it", "2012", "年", "(", "组", "图", ")"]),  # noqa: RUF001
        ("〇𠮷", "chinese", ["〇", "𠮷"]),  # noqa: RUF001
        (" \n", "word", []),
    ],
)
def test_tokens(text, unit, tokens):
    assert split_text(text, unit) == tokens


def test_counts_are_those_of_scikit_learn():
    texts = ["the cat and the dog", "A dog, a cat; the rest!", "no cat"]
    witness = CountVectorizer(token_pattern=r"\w+|[^\w\s]").fit(texts)
    vocabulary = Vocabulary.fit(texts)
    assert sorted(vocabulary.tokens) == sorted(witness.vocabulary_)
    rows, counts = vocabulary.encode(texts), witness.transform(texts).toarray()
    for row, count in zip(rows.tolist(), counts, strict=True):
        ours = Counter(vocabulary.tokens[number - 2] for number in row if number)
        assert {token: ours[token] for token in witness.vocabulary_} == {
            token: count[place] for token, place in witness.vocabulary_.items()
        }


def test_only_the_fitting_rows_are_known():
    vocabulary = Vocabulary.fit(["b a", "a c a"])
    assert vocabulary == Vocabulary.fit(["b a", "a c a", "d d d d d"][:2])
    assert vocabulary.tokens == ("a", "b", "c") and vocabulary.length == 3 and vocabulary.num_tokens == 5
    assert vocabulary.encode(["d a c b a", "d"]).tolist() == [[1, 2, 4], [1, 0, 0]]


def test_rare_tokens_and_lengths():
    texts = ["a a a b b c", "b d"]
    assert Vocabulary.fit(texts, min_count=2).tokens == ("a", "b")
    assert Vocabulary.fit(texts, max_tokens=1).tokens == ("a",)
    vocabulary = Vocabulary.fit(texts, length=2)
    assert vocabulary.encode(texts).shape == (2, 2)
    assert vocabulary.encode(["a"]).dtype == torch.int64


def test_containers_of_strings():
    texts = ["a b", "c"]
    encoded = Vocabulary.fit(texts).encode(texts)
    for container in (tuple(texts), np.array(texts), pd.Series(texts, index=[7, 8])):
        assert torch.equal(Vocabulary.fit(container).encode(container), encoded)


def test_empty_texts_are_named_or_kept():
    texts = ["a b", " ", "c"]
    with pytest.raises(InputError, match=r"texts must have at least one word, got ' ' in row 1"):
        Vocabulary.fit(texts)
    vocabulary = Vocabulary.fit(texts, on_empty="keep")
    with pytest.raises(InputError, match="in row 1"):
        vocabulary.encode(texts)
    assert vocabulary.encode(texts, on_empty="keep")[1].tolist() == [0, 0]
    assert Vocabulary.fit(["", " "], on_empty="keep").encode([""], on_empty="keep").tolist() == [[0]]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, r"texts must be a list of at least one string, got \[\]"),
        ("text", {}, "texts must be a list of at least one string, got 'text'"),
        (["a", None], {}, "texts must be strings, got None in row 1"),
        (["a", float("nan")], {}, "texts must be strings, got nan in row 1"),
        (["a"], {"unit": "words"}, "unit must be one of .* got 'words'; did you mean 'word'?"),
        (["a"], {"min_count": 0}, "min_count must be a whole number of at least 1, got 0"),
        (["a"], {"length": 0}, "length must be a whole number of at least 1, got 0"),
        (["a"], {"on_empty": "drop"}, "on_empty must be one of raise, keep, got 'drop'"),
    ],
    ids=str,
)
def test_bad_input(texts, options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        Vocabulary.fit(texts, **options)


def test_saved_as_json(tmp_path):
    vocabulary = Vocabulary.fit(["体验 2D", 'quo"te \\ \n'], unit="character")
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    assert json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8")) == vocabulary.to_dict()


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"unit": "word"}', '{"unit": "w", "length": 1}'])
def test_files_that_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InputError, match=r"vocabulary|unit"):
        Vocabulary.load(tmp_path / "bad.json")


def test_real_titles():
    path = DATA / "thucnews_titles" / "train.csv"
    if not path.is_file():
        pytest.skip("thucnews_titles is not at hand (MEDEN_DATA)")
    texts = read_table(path, as_text=("text",))["text"]
    vocabulary = Vocabulary.fit(texts, unit="chinese", min_count=2)
    rows = vocabulary.encode(texts)
    assert rows.shape == (10000, vocabulary.length) and 10 < vocabulary.length < 40
    assert 0 < float((rows == 1).sum() / (rows > 0).sum()) < 0.05
