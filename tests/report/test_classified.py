import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from meden._checks import InputError
from meden.report.classified import MOST_CLASSES, calibration_chart, confusion_chart, residuals_chart

RANDOM = np.random.default_rng(0)


def cells(made) -> dict[tuple[str, str], int]:
    [trace] = made.data
    names = made.layout["xaxis"]["ticktext"]
    places = zip(trace["y"], trace["x"], trace["text"], strict=True)
    return {(names[row], names[column]): int(text.replace(",", "")) for row, column, text in places}


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    made = cells(confusion_chart("t", confusion_matrix(["a", "a", "b"], ["a", "b", "b"]), ["a", "b"]))
    assert made == {("a", "a"): 1, ("a", "b"): 1, ("b", "a"): 0, ("b", "b"): 1}


def test_shade_is_the_share_of_the_row_and_no_rows_have_none() -> None:
    shapes = confusion_chart("t", [[3, 1], [0, 0]], ["a", "b"]).layout["shapes"]
    shades = [float(shape["fillcolor"].rstrip(")").split(",")[-1]) for shape in shapes]
    assert shades[0] > shades[1] > 0 and shades[2:] == [0.0, 0.0]


@pytest.mark.parametrize("num_classes", [MOST_CLASSES, MOST_CLASSES + 1, 40])
def test_the_rarest_of_many_classes_are_put_together(num_classes: int) -> None:
    counts = RANDOM.integers(0, 9, size=(num_classes, num_classes))
    counts[3] += 100
    names = [f"class {i}" for i in range(num_classes)]
    made = cells(confusion_chart("t", counts, names))
    assert len(made) == MOST_CLASSES**2 and sum(made.values()) == counts.sum()
    assert made["class 3", "class 3"] == counts[3, 3]
    others = f"{num_classes - MOST_CLASSES + 1} others"
    if num_classes > MOST_CLASSES:
        kept = {row for row, _ in made} - {others}
        assert sum(made[others, column] for column in (*kept, others)) == sum(
            counts[i].sum() for i, name in enumerate(names) if name not in kept
        )
    else:
        assert {row for row, _ in made} == set(names)


def test_calibration_is_scikit_learns() -> None:
    predicted = np.concatenate([RANDOM.random(300) ** 2, [0.0, 1.0]])
    happened = RANDOM.random(302) < predicted
    share, place = calibration_curve(happened, predicted, n_bins=7)
    [trace] = calibration_chart("t", predicted, happened, bins=7).data
    assert np.allclose(trace["y"], share) and np.allclose(trace["x"], place)
    assert sum(map(int, trace["text"])) == 302
    ends = np.asarray(trace["y"]) + np.asarray(trace["error_y"]["array"])
    assert np.all((ends >= trace["y"]) & (ends <= 1 + 1e-9))


def test_residuals_are_drawn_up_to_a_limit_and_the_title_says_so() -> None:
    predicted, actual = RANDOM.normal(size=5000), RANDOM.normal(size=5000)
    made = residuals_chart("Residuals", predicted, actual, unit="mm")
    [trace] = made.data
    assert made.title == "Residuals (2,000 of 5,000 rows, drawn at random)" and len(trace["x"]) == 2000
    drawn, known = np.array([trace["x"], trace["y"]]), np.array([predicted, actual - predicted])
    assert np.abs(drawn[:, :, None] - known[:, None, :]).sum(0).min(1).max() < 1e-7
    assert len(np.unique(drawn[0])) == 2000
    assert residuals_chart("Residuals", predicted[:9], actual[:9], unit="mm").title == "Residuals"


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match=r"counts must be of shape \(2, 2\), got \(1, 2\)"):
        confusion_chart("t", [[1, 2]], ["a", "b"])
    with pytest.raises(InputError, match=r"predicted must hold probabilities in .0, 1., got 1\.5"):
        calibration_chart("t", [0.5, 1.5], [0, 1])
    with pytest.raises(InputError, match=r"predicted must hold probabilities in .0, 1., got nan"):
        calibration_chart("t", [float("nan")], [1])
    with pytest.raises(InputError, match="actual must be as long as predicted"):
        residuals_chart("t", [1.0, 2.0], [1.0], unit="mm")
