"""Text files: each token is predicted once, parts share nothing, nothing is read whole, what is wrong costs a line."""

import errno
import itertools
import json
import os
import warnings

import numpy as np
import pytest
import torch

import meden
from meden import InputError
from meden.data import Characters, TextFile, Tokenizer, text_file
from meden.data.characters import Coding, coding_from_dict
from meden.models import Decoder

TEXT = "".join(f"Zeile {i}: Grüße, 你好 {i * i}\n" for i in range(40))


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "text.txt", TEXT)


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pairs(source, *, seed=0):
    """Return each (token, target) that counts, in order, and windows x and y."""
    x, y = (torch.cat(part) for part in zip(*source.read([range(len(source))], seed), strict=True))
    kept = y != -100
    return list(zip(x[kept].tolist(), y[kept].tolist(), strict=True)), x, y


@pytest.mark.parametrize("context", [1, 2, 7, 64, len(TEXT) - 2, len(TEXT) - 1])
def test_every_token_after_the_first_is_predicted_once(path, context):
    source = TextFile(path, context)
    tokens = source.vocabulary.encode(TEXT).tolist()
    found, x, y = pairs(source)
    assert found == list(itertools.pairwise(tokens))
    assert x.shape == y.shape == (len(source), context) and x.min() >= 0
    assert source.vocabulary.decode(tokens) == TEXT


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.37, 0.5, 0.501, 0.502, 0.503, 0.9])
def test_parts_share_nothing_and_leave_nothing_out(path, share):
    known = Characters.of([TEXT])
    parts = {"stop": share}, {"start": share}
    texts = []
    for part in parts:
        try:
            source = TextFile(path, 1, vocabulary=known, **part)
        except InputError as error:
            assert "must hold at least context + 1 = 2 tokens, got" in str(error)
            texts.append("" if "got 0" in str(error) else TEXT[:1])
            continue
        found = pairs(source)[0]
        texts.append(known.decode([found[0][0], *(target for _, target in found)]))
    assert "".join(texts) == TEXT


def test_what_is_held_out_has_no_say_in_the_vocabulary(tmp_path):
    path = written(tmp_path / "text.txt", "abc" * 30 + "xyz" * 10)
    fitted = TextFile(path, 4, stop=0.75)
    assert fitted.vocabulary == Characters("abc")
    with pytest.raises(
        InputError, match=r"from byte 90: text must contain only the 3 characters seen in training, got 3 others"
    ):
        TextFile(path, 4, start=0.75, vocabulary=fitted.vocabulary)


@pytest.mark.parametrize("piece", [1, 3, 50, 2**20])
def test_the_size_of_the_pieces_that_are_read_does_not_matter(path, piece, monkeypatch):
    whole = pairs(TextFile(path, 5, stop=0.7))
    monkeypatch.setattr(text_file, "PIECE", piece)
    inner, most = text_file._bytes, []
    monkeypatch.setattr(text_file, "_bytes", lambda *given: (most.append(len(p)) or p for p in inner(*given)))
    pieced = pairs(TextFile(path, 5, stop=0.7))
    assert pieced[0] == whole[0] and max(most) <= piece


def test_shifted_windows_are_at_other_places_in_each_pass(path):
    source, tokens = TextFile(path, 7, shifts=True), Characters.of([TEXT]).encode(TEXT).tolist()
    firsts = set()
    for seed in range(60):
        found, x, _ = pairs(source, seed=seed)
        first = len(tokens) - 1 - len(found)
        assert 0 <= first < 7 and x.shape == (len(source), 7)
        assert found == list(zip(tokens[first:-1], tokens[first + 1 :], strict=True))
        assert pairs(source, seed=seed)[0] == found
        firsts.add(first)
    assert firsts == set(range(7))


def test_the_loss_of_a_run_is_that_of_the_whole_text(path):
    known = Characters.of([TEXT])
    held_out = TextFile(path, 8, start=0.8, vocabulary=known)
    model = Decoder(8, known.num_tokens, width=8, num_heads=2, depth=1).double()
    recipe = meden.Recipe(lr=0.01, epochs=2, batch_size=16, steps_per_epoch=5)
    run = meden.fit(model, TextFile(path, 8, stop=0.8, vocabulary=known), held_out, recipe)
    found = [target for _, target in pairs(held_out)[0]]
    tokens = [pairs(held_out)[0][0][0], *found]
    total = 0.0
    for start in range(0, len(tokens) - 1, 8):
        window = torch.tensor(tokens[start : start + 9])
        with torch.no_grad():
            logits = run.model(window[None, :-1])[0]
        total += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
    assert run.history[-1].valid["loss"] == pytest.approx(total / len(found), rel=1e-6)


def test_tokens_are_written_once(path, tmp_path, monkeypatch):
    cache = tmp_path / "made" / "here"
    first = TextFile(path, 5, cache=cache)
    assert len(files := list(cache.iterdir())) == 1 and files[0].name.endswith(".uint16")
    monkeypatch.setattr(TextFile, "_write", None)
    assert pairs(TextFile(path, 9, cache=cache, vocabulary=first.vocabulary))[0] == pairs(first)[0]
    monkeypatch.undo()
    written(path, TEXT.replace("Zeile 3", "Zeile 4"))
    assert pairs(TextFile(path, 5, cache=cache))[0] != pairs(first)[0]
    TextFile(path, 5, cache=cache, vocabulary=Characters.of([TEXT, "?"]))
    TextFile(path, 5, cache=cache, stop=0.5)
    assert len(list(cache.iterdir())) == 4


def test_a_crash_leaves_no_half_of_a_file(path, tmp_path, monkeypatch):
    def torn(self, file, dtype):
        file.write(b"1234")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TextFile, "_write", torn)
        with pytest.raises(KeyboardInterrupt):
            TextFile(path, 5, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to_is_no_obstacle(path, tmp_path, monkeypatch, number):
    expected = pairs(TextFile(path, 5))[0]

    def refused(*_given, **_named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(text_file, "whole", refused)
    with pytest.warns(UserWarning, match="tokens are kept in a temporary file, since"):
        source = TextFile(path, 5, cache=tmp_path / "cache")
    assert pairs(source)[0] == expected


def test_nothing_is_left_behind_without_a_cache(path, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = TextFile(path, 5)
    assert list(tmp_path.iterdir()) == [path] and len(source) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "must hold at least context [+] 1 = 5 tokens, got 0"),
        (b"abcd", "must hold at least context [+] 1 = 5 tokens, got 4"),
        (b"good \xff text", r"must be UTF-8, but byte 5 \(0xff\) cannot be read: invalid start byte"),
        (b"good text \xe4\xbd", r"must be UTF-8, but byte 10 \(0xe4\) cannot be read: unexpected end of data"),
        (b"gut: \xfc ist Latin-1", r"must be UTF-8, but byte 5 \(0xfc\) cannot be read"),
    ],
)
@pytest.mark.parametrize("piece", [1, 4, 2**20])
def test_bad_texts_cost_one_line(tmp_path, text, message, piece, monkeypatch):
    monkeypatch.setattr(text_file, "PIECE", piece)
    path = written(tmp_path / "text.txt", text)
    with pytest.raises(InputError, match=f"^text '.*text.txt' {message}") as caught:
        TextFile(path, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("piece", [1, 7, 2**20])
def test_the_place_of_a_character_never_trained_on(path, piece, monkeypatch):
    monkeypatch.setattr(text_file, "PIECE", piece)
    known = Characters.of([TEXT.replace("好", "")])
    wanted = (
        rf"only the {known.num_tokens} characters seen in training, got 1 other: '好'; "
        rf"the first is at {TEXT.index('好')}"
    )
    with pytest.raises(InputError, match=wanted):
        TextFile(path, 4, vocabulary=known)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "context must be a whole number of at least 1, got 0"),
        ({"start": 1.0}, r"start must be a finite number in \[0, 1\), got 1.0"),
        ({"start": 0.5, "stop": 0.5}, r"stop must be a finite number in \(0.5, 1\], got 0.5"),
        ({"stop": 1.5}, r"stop must be a finite number in \(0, 1\], got 1.5"),
        ({"vocabulary": "abc"}, "vocabulary must be Characters or a Tokenizer, got str"),
    ],
)
def test_bad_settings_cost_one_line(path, options, message):
    with pytest.raises(InputError, match=message):
        TextFile(path, **{"context": 4} | options)


def test_a_missing_file_costs_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        TextFile(tmp_path / "none.txt", 4)
    with pytest.raises(InputError, match="must be a file, got a folder"):
        TextFile(tmp_path, 4)


def test_characters_go_to_plain_values_and_back():
    known = Characters.of([TEXT, "\u2028\U0001f600"])
    again = coding_from_dict(json.loads(json.dumps(known.to_dict())))
    assert again == known and isinstance(known, Coding)
    assert known.decode(known.encode("你\u2028\U0001f600")) == "你\u2028\U0001f600"


@pytest.mark.parametrize("characters", ["", "ba", "aa"])
def test_characters_that_are_no_vocabulary(characters):
    with pytest.raises(InputError, match="characters must be one or more, sorted and unique"):
        Characters(characters)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT.splitlines(keepends=True),
        tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize("piece", [11, 2**20])
def test_tokens_of_a_tokenizer(tokenizer, path, piece, monkeypatch):
    monkeypatch.setattr(text_file, "PIECE", piece)
    known = Tokenizer(tokenizer)
    source = TextFile(path, 6, vocabulary=known)
    found = pairs(source)[0]
    tokens = [found[0][0], *(target for _, target in found)]
    assert known.decode(tokens) == TEXT and len(tokens) < len(TEXT) and max(tokens) < known.num_tokens
    assert known.identity == Tokenizer(tokenizer).identity


def test_a_vocabulary_beyond_16_bits(path, tmp_path):
    class Large(Characters):
        num_tokens, identity = 2**16 + len(Characters.of([TEXT]).characters), "large"

        def encode(self, text, start=0):
            return super().encode(text, start) + np.uint32(2**16)

    source = TextFile(path, 6, vocabulary=Large.of([TEXT]), cache=tmp_path)
    assert pairs(source)[1].max() >= 2**16 and list(tmp_path.glob("*.uint32"))


def test_bad_tokenizers_cost_one_line(tmp_path):
    pytest.importorskip("tokenizers")
    with pytest.raises(InputError, match=r"must be an existing file such as tokenizer\.json"):
        Tokenizer(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        Tokenizer(written(tmp_path / "bad.json", "{}"))


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with warnings.catch_warnings(), pytest.raises(InputError, match=r"pip install 'meden\[hf\]'"):
        Tokenizer(written(tmp_path / "tokenizer.json", "{}"))


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_held_out_windows_are_of_all_the_text_and_never_fitted(tmp_path, shifts, share):
    path = written(tmp_path / "text.txt", "".join(chr(0x4E00 + i) for i in range(1200)))  # each token once
    text = TextFile(path, 8, shifts=shifts)
    fitting, held_out = text.split(share, seed=3)
    left_out = len(text) - len(fitting) - len(held_out)
    assert len(held_out) == round(share * len(text)) and (0 < left_out <= len(held_out) if shifts else left_out == 0)
    targets = set(torch.cat([y.flatten() for _, y in held_out.read([range(len(held_out))])]).tolist()) - {-100}
    again = set(torch.cat([y.flatten() for _, y in held_out.read([range(len(held_out))], seed=9)]).tolist()) - {-100}
    assert targets == again and max(targets) - min(targets) > 400
    firsts = set()
    for seed in range(60):
        _, y = next(fitting.read([range(len(fitting))], seed))
        assert not targets & set(y.flatten().tolist())
        firsts.add(int(y[0, 0]))
    assert len(firsts) == (8 if shifts else 1)
    assert not np.array_equal(text.split(share, seed=4)[1].rows, held_out.rows)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0, r"share must be a finite number in \(0, 1\), got 0"),
        (1.0, r"share must be a finite number in \(0, 1\), got 1.0"),
        (0.0001, "share must leave windows on both sides, got 0.0001 of "),
        (0.9999, "share must leave windows on both sides, got 0.9999 of "),
    ],
)
def test_shares_that_leave_nothing(path, share, message):
    with pytest.raises(InputError, match=f"^{message}"):
        TextFile(path, 8, shifts=True).split(share)
