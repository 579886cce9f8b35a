"""Each rule on a table: what was planted is found, and not in the healthy twin."""

import numpy as np
import pandas as pd
import pytest

import meden
from meden.diagnosis import Split, all_rules
from meden.diagnosis.tables.table import Table
from tests.diagnosis.tables import CASES, clean, numbers, repeated, split


def codes(frame, select=(), **arguments):
    return [finding.code for finding in meden.check(frame, target="y", select=select, **arguments).findings]


def test_each_rule_has_a_case():
    assert {rule.code for rule in all_rules() if rule.of in (Table, Split)} == set(CASES)


@pytest.mark.filterwarnings("ignore::meden.data.reading.ReadingWarning")
@pytest.mark.parametrize("code", CASES)
def test_what_was_planted_is_found_and_not_in_the_twin(code):
    case = CASES[code]
    assert codes(case.planted(), [code], **case.arguments) == [code]
    assert codes(case.healthy(), [code], **case.arguments) == []


@pytest.mark.parametrize("make", [clean, numbers])
def test_nothing_stands_out_in_a_clean_table(make):
    found = meden.check(make(), target="y")
    assert found.findings == () and str(found) == "nothing stands out"


def test_a_strong_honest_predictor_is_no_leak():
    """A mass weighed with 3 % error predicts the mass: more than most columns ever do, and no copy."""
    frame = numbers(900)
    frame["scales"] = frame["y"] + 0.03 * np.random.default_rng(0).standard_normal(900) * frame["y"].std()
    found = meden.check(frame[[*frame.columns[:-2], "scales", "y"]], target="y").findings
    assert [(one.code, one.severity) for one in found] == [("target_determined", "warning")]
    assert 0.98 < found[0].interval[0] < found[0].value < found[0].interval[1] <= 1
    assert "known before" in found[0].advice


@pytest.mark.parametrize("made", [lambda y: 3 * y - 7, lambda y: -y, lambda y: y])
def test_the_target_in_another_unit_is_a_copy(made):
    frame = numbers()
    frame.insert(0, "other", made(frame["y"]))
    assert codes(frame) == ["target_copy"]


@pytest.mark.parametrize("base", [clean, numbers])
def test_gaps_hide_no_copy_of_the_target(base):
    frame, draw = base(300), np.random.default_rng(0)
    other = frame["y"].map({"yes": "Z9", "no": "Q1"}) if base is clean else 3 * frame["y"] - 7
    frame.insert(0, "later", other.where(draw.random(300) < 0.6))
    found = meden.check(frame, target="y", select=["target_copy", "target_determined", "strong_column"]).findings
    assert [one.code for one in found] == ["target_copy"] and "% have none" in found[0].message
    frame["later"] = frame["later"].where(draw.random(300) < 0.8, frame["later"].sample(frac=1, random_state=1).values)
    assert codes(frame, ["target_copy", "target_determined"]) == []


def test_gaps_hide_no_column_that_determines_the_target():
    frame, draw = numbers(900), np.random.default_rng(0)
    frame.insert(0, "later", np.exp(frame["y"] / 2).where(draw.random(900) < 0.7) + 1e-4 * draw.random(900))
    found = meden.check(frame, target="y", select=["target_determined"]).findings
    assert len(found) == 1 and "rows that have a value" in found[0].message and found[0].interval[0] > 0.98
    frame["later"] = (frame["y"] + 0.5 * draw.standard_normal(900)).where(frame["later"].notna())
    assert codes(frame, ["target_determined"]) == []


def test_numbers_of_many_groups_that_carry_the_target_are_found():
    """120 patients of 5 visits each: 32 ranges of their numbers tell nothing, the numbers themselves all."""
    draw = np.random.default_rng(0)
    frame = clean(600).assign(patient=draw.permutation(9000)[:120][np.arange(600) // 5])
    frame = frame.sample(frac=1, random_state=0)
    assert codes(frame, ["target_determined", "strong_column"]) == []
    of_patient = draw.choice(["yes", "no"], 9000)
    frame["y"] = of_patient[frame["patient"]]
    found = meden.check(frame, target="y", select=["target_determined"]).findings
    assert len(found) == 1 and "'patient' alone" in found[0].message


@pytest.mark.parametrize("most", [10**8, 10**12])
def test_long_keys_drawn_at_random_are_told_from_long_amounts(most):
    draw, frame = np.random.default_rng(0), clean(240)
    for values, found in (
        (draw.integers(most // 10, most, 240), ["identifier_column"]),
        ((most * draw.lognormal(-2, 0.5, 240)).round(), []),
        ((most * (0.5 + 0.05 * draw.standard_normal(240))).round(), []),
        (draw.integers(most // 10, most, 240)[np.arange(240) // 3], []),
    ):
        assert codes(frame.assign(key=values.astype(np.int64)), ["identifier_column"]) == found


def test_a_copy_by_chance_is_none():
    """Of 300 columns of coins one may agree with the labels of 12 rows; with those of 30 rows none does."""
    draw = np.random.default_rng(0)
    coins = pd.DataFrame(draw.permuted(np.tile(np.arange(30) % 2, (300, 1)), axis=1).T).add_prefix("c")
    coins["y"] = np.where(coins["c0"] > 0, "a", "b")
    assert codes(coins, ["target_copy"]) == ["target_copy"]
    assert codes(coins.iloc[:12], ["target_copy"]) == []


def test_a_key_hides_no_copies_and_a_text_is_no_key():
    frame = repeated(8)
    frame.insert(0, "key", [f"k{place}" for place in range(len(frame))])
    assert codes(frame, ["duplicate_rows", "identifier_column"]) == ["identifier_column", "duplicate_rows"]
    words = np.array("the a film is not very good bad long short and but dull bright".split())
    said = [" ".join(np.random.default_rng(place).choice(words, 9)) for place in range(60)]
    texts = pd.DataFrame({"text": [*said, *said[:3]], "y": ["good", "bad", "bad"] * 21})
    (found,) = meden.check(texts, target="y", select=["duplicate_rows"]).findings
    assert "rows 0 and 60, rows 1 and 61, rows 2 and 62" in found.message


def test_near_copies_across_the_split_are_found_too():
    frame = split(6, noise=1e-5)
    (found,) = meden.check(frame, target="y", split="part", select=["rows_across"]).findings
    score, fit = (np.flatnonzero(frame["part"] == part)[:2] for part in ("test", "train"))
    assert f"a nearly equal row for 6 (such as rows {score[0]} and {fit[0]}, {score[1]} and {fit[1]}" in found.message
    assert found.severity == "error"


def test_a_key_hides_no_copies_across_the_split():
    frame = split(6)
    assert codes(frame.assign(key=np.arange(480) + 7000), ["rows_across"], split="part") == ["rows_across"]


def test_copies_within_groups_stay_on_one_side():
    """They are still no news, once groups are named; copies of which one is of another group are."""
    for noise, code in ((0.0, "duplicate_rows"), (1e-4, "near_duplicates")):
        frame = repeated(8, noise=noise)
        patient = frame["weight"].round(2).rank(method="dense")
        assert codes(frame.assign(patient=patient), [code], groups="patient") == []
        assert codes(frame.assign(patient=np.arange(248)), [code], groups="patient") == [code]


def test_what_a_split_shows_is_told_with_the_rows_and_the_command_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CASES["groups_torn"].planted().to_csv("my data.csv", index=False)
    found = meden.check("my data.csv", target="y", groups="patient", split="part", select=["honesty"]).findings
    assert [one.code for one in found] == ["groups_torn"]
    assert "(such as rows 0 and 5, 4 and 5, 8 and 11, 12 and 17): 40 groups are split" in found[0].message
    assert found[0].command == "meden tune 'my data.csv' --target y --groups patient --drop part"


def test_suspects_are_named_by_their_row_and_how_many_are_expected():
    frame = CASES["label_suspects"].planted().reset_index()
    wrong = set(np.flatnonzero(frame["index"] < 15).tolist())
    found = meden.check(frame.drop(columns="index"), target="y", select=["label_suspects"])
    rows = {one["row"] for one in found.to_dict()["suspects"]}
    assert rows <= wrong and len(rows) >= 13
    assert found.suspects.expected == pytest.approx(15, abs=3)


@pytest.mark.parametrize("classes", [2, 5])
def test_labels_that_nothing_tells_are_not_called_wrong(classes):
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((200, 4)), columns=[*"abcd"])
    frame["y"] = np.random.default_rng(1).permutation(np.arange(200) % classes).astype(str)
    found = meden.check(frame, target="y", select=["label_suspects"])
    assert found.findings == () and len(found.suspects.rows) > 60 and not found.suspects.apart
    assert found.to_dict()["suspects"] == []


def test_a_random_split_of_whole_groups_is_no_drift():
    """Rows of a group are alike; a classifier that knew them again would tell any split by groups apart."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 8)
    frame = pd.DataFrame(10 * draw.standard_normal((60, 3))[groups] + draw.standard_normal((480, 3)), columns=[*"abc"])
    frame = frame.assign(group=groups, y=draw.standard_normal(480), part=np.where(groups % 3, "train", "test"))
    assert codes(frame, ["split_drift"], split="part", groups="group") == []
    assert codes(frame.drop(columns="group"), ["split_drift"], split="part") == ["split_drift"]


def test_rows_that_a_split_or_groups_already_explain_are_not_told():
    sorted_rows = numbers().sort_values("length").assign(group=np.arange(240) // 8)
    assert codes(sorted_rows, ["like_neighbours"]) == ["like_neighbours"]
    assert codes(sorted_rows, ["like_neighbours"], groups="group") == []


def test_a_finding_says_the_command_that_makes_the_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CASES["target_copy"].planted().to_csv("my data.csv", index=False)
    (found,) = meden.check("my data.csv", target="y").findings
    assert found.command == "meden tune 'my data.csv' --target y --drop more"


def test_arrays_are_checked_as_columns():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((60, 2, 2)).astype(np.float32)
    y = draw.integers(0, 2, 60)
    x[:, 1, 0] = y
    assert [one.code for one in meden.check((x, y)).findings] == ["target_copy"]


def test_no_finding_depends_on_the_run():
    first, second = (meden.check(repeated(8, noise=1e-4), target="y").to_dict() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("signal", [0.0, 2.0])
@pytest.mark.parametrize("rate", [0.03, 0.05, 0.1])
def test_correct_labels_of_a_rare_class_are_not_called_wrong(signal, rate):
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(draw.standard_normal((600, 5)), columns=[*"abcde"])
    score = signal * frame["a"] + draw.standard_normal(600)
    frame["y"] = np.where(score > score.quantile(1 - rate), "rare", "usual")
    assert meden.check(frame, target="y", select=["label_suspects"]).findings == ()


def test_wrong_labels_are_found_where_a_class_is_less_frequent():
    draw = np.random.default_rng(0)
    labels = np.arange(600) < 60
    frame = pd.DataFrame(draw.standard_normal((600, 5)), columns=[*"abcde"])
    frame["a"] += 6 * labels
    wrong = draw.choice(600, 30, replace=False)
    labels[wrong] ^= True
    found = meden.check(frame.assign(y=labels.astype(str)), target="y", select=["label_suspects"])
    assert found.findings and len({one["row"] for one in found.to_dict()["suspects"]} & set(wrong.tolist())) >= 20


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_column_that_tells_a_rare_class_is_found_wherever_its_range_lies(place):
    draw = np.random.default_rng(0)
    rare = np.arange(10_000) % 50 == 0
    usual = draw.random(10_000)
    usual += usual > 0.5  # and nothing in between
    refund = np.where(rare, (10.0 * place or 1.0) + 0.01 * draw.random(10_000), usual)
    frame = pd.DataFrame({"x": draw.random(10_000), "refund": refund})
    frame["y"] = np.where(rare, "fraud", "ok")
    select = ["target_determined", "strong_column"]
    (finding,) = meden.check(frame, target="y", select=select).findings
    assert finding.code == "target_determined" and "'refund'" in finding.message
    frame["y"] = draw.permutation(frame["y"])
    assert meden.check(frame, target="y", select=select).findings == ()


def test_copies_of_rows_do_not_hide_what_names_them():
    frame = clean(240).assign(key=np.random.default_rng(1).permutation(240) + 1000)
    twice = pd.concat([frame, frame.iloc[:5]])
    (finding,) = meden.check(twice, target="y", select=["identifier_column"]).findings
    assert "'key'" in finding.message
    drawn = clean(240).assign(key=np.random.default_rng(1).integers(0, 5000, 240))  # has a value twice, by chance
    assert drawn["key"].nunique() < 240
    for healthy in (drawn, pd.concat([drawn, drawn.iloc[:5]]), drawn[["key", "y"]]):
        assert meden.check(healthy, target="y", select=["identifier_column"]).findings == ()
