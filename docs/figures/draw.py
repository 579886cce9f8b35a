"""The figures of docs/explain, in English and Chinese: python docs/figures/draw.py [FOLDER]. About a minute of one core."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import Ridge, lasso_path
from sklearn.preprocessing import StandardScaler
from torch import nn

import meden
from meden.penalties import L1, L2
from meden.strengths import epochs_worth, time_constant
from meden.study.selection import corrected_score

FOLDER = Path(__file__).parents[1] / "explain"
BLUE, RED, GREEN, GREY = "#1f77b4", "#d62728", "#2a9d5c", "#777777"
Word = Callable[[str, str], str]
"""Of an English and a Chinese text, the one of the language that is drawn."""


def main(folder: Path = FOLDER) -> None:
    """Draw all, twice: what they show is computed once."""
    mpl.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "meden", "font.size": 11, "font.family": "sans-serif",
        "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True,
        "legend.frameon": False,
    })  # fmt: skip
    for name, compute in FIGURES.items():
        torch.manual_seed(0)
        draw, size = compute()
        for suffix, which in (("", 0), (".zh", 1)):
            figure = plt.figure(figsize=size)
            draw(figure, lambda *words, which=which: words[which])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # text stays text: the reader's fonts have the characters
                figure.savefig(folder / f"{name}{suffix}.svg", transparent=True, metadata={"Date": None})
            plt.close(figure)


Drawing = tuple[Callable[[plt.Figure, Word], None], tuple[float, float]]


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return 150 images to train on, with their digits, and 800 others."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    return x[:150], y[:150], x[150:950], y[150:950]


def overfitting() -> Drawing:
    """Loss over epochs with and without regularisation."""
    x, y, other_x, other_y = digits()
    recipe = meden.Recipe(optimizer="adam", lr=3e-3, epochs=120)
    regularised = recipe.replace(dropout=0.5, regularizers=[meden.Regularizer(L2(0.03), coupling="decoupled")])
    curves = []
    for own in (recipe, regularised):
        torch.manual_seed(0)
        history = meden.fit(meden.models.MLP(64, 10, width=128), (x, y), (other_x, other_y), own).history
        curves.append((history.column("train.loss"), history.column("valid.loss")))

    def draw(figure: plt.Figure, word: Word) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        titles = word("no regularisation", "无正则化"), word("decay and dropout", "权重衰减 + dropout")
        for axes, title, (train, held_out) in zip((left, right), titles, curves, strict=True):
            epochs = np.arange(1, len(train) + 1)
            axes.plot(epochs, train, color=BLUE, label=word("training", "训练"))
            axes.plot(epochs, held_out, color=RED, label=word("held out", "留出"))
            best = int(np.argmin(held_out))
            axes.plot(best + 1, held_out[best], "o", color=RED)
            axes.set(title=title, xlabel=word("epoch", "训练轮数"), ylim=(0, 1))
        left.set_ylabel(word("loss, nats", "损失（奈特）"))
        right.legend()

    return draw, (8, 3.4)


def strength() -> Drawing:
    """Held-out loss over the strength."""
    x, y, _, _ = digits()
    strengths = np.logspace(-4, 0.5, 10)
    recipe = meden.Recipe(optimizer="adam", lr=3e-3, epochs=60)
    data, found = meden.as_dataset((x, y)), []
    folds = meden.data.make_folds(data, 5, seed=0)
    for one in strengths:
        own = recipe.replace(regularizers=[meden.Regularizer(L2(float(one)), coupling="gradient")])
        runs = meden.fit_many(meden.models.MLP, [meden.Member(own, fold) for fold in folds], data)
        found.append([run.held_out.scores.mean() for run in runs])
    losses = np.array(found)
    mean, error = losses.mean(1), losses.std(1, ddof=1) / np.sqrt(losses.shape[1])
    best = int(mean.argmin())
    limit = mean[best] + error[best]

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        axes.fill_between(strengths, mean - error, mean + error, color=RED, alpha=0.15, linewidth=0)
        axes.plot(strengths, mean, "o-", color=RED)
        axes.axhline(limit, color=GREY, linestyle="--")
        chosen = max(np.flatnonzero(mean <= limit))
        axes.plot(strengths[chosen], mean[chosen], "o", color=GREEN, markersize=11, zorder=3)
        axes.annotate(word("chosen", "选中"), (strengths[chosen], mean[chosen]), (0, 12), textcoords="offset points",
                      ha="center", color=GREEN)  # fmt: skip
        axes.set(xscale="log", xlabel=word("strength of L2", "L2 强度"), ylabel=word("held-out loss", "留出损失"),
                 ylim=(0, min(2.4, mean.max() * 1.1)))  # fmt: skip

    return draw, (6.5, 3.6)


def scales() -> Drawing:
    """What the number 1 means in other tools."""
    rows = np.logspace(1.5, 5, 20)
    tools = {
        "sklearn.Ridge": "scikit-learn Ridge, alpha = 1",
        "sklearn.ElasticNet": "scikit-learn ElasticNet, alpha = 1",
        "keras.L2": "Keras L2(1)",
    }
    values = {
        label: [meden.convert(1.0, source=tool, to="canonical", n=float(n)).l2 for n in rows]
        for tool, label in tools.items()
    }

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        for (label, line), color in zip(values.items(), (RED, BLUE, GREEN), strict=True):
            axes.plot(rows, line, color=color, label=label)
        axes.set(xscale="log", yscale="log", xlabel=word("training rows", "训练样本数"),
                 ylabel=word("canonical strength of L2", "规范的 L2 强度"))  # fmt: skip
        axes.legend(loc="lower left")

    return draw, (6.5, 3.6)


def paths() -> Drawing:
    """Weights of a linear model over the strength of L1 and of L2."""
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x), (y - y.mean()) / y.std()
    l1 = np.logspace(-3, 0, 60)
    lasso = lasso_path(x, y, alphas=l1)[1][:, ::-1]
    l2 = np.logspace(-3, 2, 60)
    ridge = np.array([Ridge(alpha=float(s) * len(y), fit_intercept=False).fit(x, y).coef_ for s in l2]).T

    def draw(figure: plt.Figure, word: Word) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, strengths, weights, name in ((left, l1, lasso, "L1"), (right, l2, ridge, "L2")):
            axes.plot(strengths, weights.T)
            axes.axhline(0, color=GREY, linewidth=0.8)
            axes.set(xscale="log", title=name, xlabel=word("strength", "强度"))
        left.set_ylabel(word("weight", "权重"))

    return draw, (8, 3.4)


def zeros() -> Drawing:
    """Sizes of weights after training with L1 in two couplings."""
    x, y, _, _ = digits()
    sizes = {}
    for coupling in ("loss", "proximal"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        recipe = meden.Recipe(optimizer="adam", lr=3e-3, epochs=60)
        recipe = recipe.replace(regularizers=[meden.Regularizer(L1(2e-3), coupling=coupling)])
        weights = meden.fit(model, (x, y), recipe=recipe).model[0].weight.detach().abs().flatten()
        sizes[coupling] = weights.sort(descending=True).values.numpy()

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        labels = {"loss": word("L1 in the loss", "L1 写进损失"), "proximal": word("proximal step", "近端步")}
        for (coupling, line), color in zip(sizes.items(), (RED, BLUE), strict=True):
            kept = line[line > 0]
            axes.plot(np.arange(1, len(kept) + 1)[::8], kept[::8], color=color,
                      label=f"{labels[coupling]}{word(', ', '，')}{(line == 0).mean():.0%} {word('zeros', '为零')}")  # fmt: skip
        axes.set(yscale="log", ylim=(1e-5, 2), xlim=(0, len(sizes["loss"])), xlabel=word("weights, by size", "权重，按大小排序"),
                 ylabel=word("size", "绝对值"))  # fmt: skip
        axes.legend()

    return draw, (6.5, 3.6)


def adam_decay() -> Drawing:
    """Coupled and decoupled decay of weights whose gradients are noise of two sizes."""
    steps, sizes = 3000, torch.tensor([1.0, 0.01]).repeat_interleave(200)
    noise = torch.randn(steps, 400, generator=torch.Generator().manual_seed(0)) * sizes
    traces = {}
    for name, make in (("Adam", torch.optim.Adam), ("AdamW", torch.optim.AdamW)):
        w = torch.ones(400, requires_grad=True)
        optimizer, trace = make([w], lr=1e-3, weight_decay=0.05 if name == "Adam" else 0.5), []
        for gradient in noise:
            w.grad = gradient.clone()
            optimizer.step()
            trace.append(w.detach().view(2, 200).mean(1).clone())
        traces[name] = torch.stack(trace).numpy()

    def draw(figure: plt.Figure, word: Word) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        titles = word("coupled (Adam)", "耦合（Adam）"), word("decoupled (AdamW)", "解耦（AdamW）")
        labels = word("large gradients", "梯度大"), word("small gradients", "梯度小")
        for axes, title, trace in zip((left, right), titles, traces.values(), strict=True):
            for line, label, color in zip(trace.T, labels, (RED, BLUE), strict=True):
                axes.plot(np.arange(0, steps, 10), line[::10], label=label, color=color)
            axes.set(title=title, xlabel=word("step", "步"), ylim=(0, 1.05))
        left.set_ylabel(word("weight, mean of 200", "权重（200 个的平均）"))
        right.legend()

    return draw, (8, 3.4)


def folds() -> Drawing:
    """Which rows do what."""

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        for fold in range(3):
            y = 2 - fold
            part = {k: ("fit", 1.0) for k in range(3)}
            part[fold] = ("score", 1.0)
            for k, (what, width) in part.items():
                color = "#2b5f8a" if what == "score" else "#bcd7ea"
                axes.barh(y, width, left=k, height=0.6, color=color, edgecolor="white")
            stop = 2 if fold != 2 else 1
            axes.barh(y, 0.5, left=stop + 0.5, height=0.6, color="#f2c572", edgecolor="white", hatch="//")
            axes.text(fold + 0.5, y, word("score", "打分"), ha="center", va="center", color="white")
            axes.text(stop + 0.75, y, word("stop", "停止"), ha="center", va="center", color="#333333")
            axes.text((0.5 if fold else 1.5), y, word("train", "训练"), ha="center", va="center", color="#333333")
            axes.text(-0.05, y, word(f"fold {fold + 1}", f"第 {fold + 1} 折"), ha="right", va="center")
        axes.set(xlim=(-0.4, 3), ylim=(-0.5, 2.5))
        axes.axis("off")

    return draw, (7, 2.2)


def stop_bias() -> Drawing:
    """How flattering the best epoch of the scored rows is."""
    rng = np.random.default_rng(0)
    rows = np.array([50, 100, 200, 500, 1000, 2000, 5000])
    steps = rng.normal(size=(2000, 300))
    noise = np.zeros_like(steps)
    for epoch in range(1, steps.shape[1]):
        noise[:, epoch] = 0.9 * noise[:, epoch - 1] + np.sqrt(1 - 0.81) * steps[:, epoch]
    luck = noise[:, -100:].min(1).mean()
    curve = 0.5 + luck * 0.3 / np.sqrt(rows)  # the part of a row's loss that moves from epoch to epoch: deviation 0.3

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        axes.axhline(0.5, color=GREY, linestyle="--", label=word("other rows, same epoch", "其他样本，同一轮"))
        axes.plot(rows, curve, "o-", color=RED, label=word("the rows that chose the epoch", "选轮数的那些样本"))
        axes.set(
            xscale="log", xlabel=word("rows that score", "打分的样本数"), ylabel=word("loss", "损失"), ylim=(0.4, 0.52)
        )
        axes.legend(loc="lower right")

    return draw, (6.5, 3.4)


def best_of_many() -> Drawing:
    """The mean loss of the best of equals, and the corrected score."""
    counts, rng = [1, 2, 4, 8, 16, 32, 64], np.random.default_rng(0)
    naive: NDArray[np.float64] = np.zeros((40, len(counts)))
    corrected = np.zeros_like(naive)
    which = np.arange(200) % 5
    for draw_number in range(len(naive)):
        losses = 0.5 * (0.4 * rng.exponential(size=(64, 200)) + 0.6 * rng.exponential(size=200))
        for k, count in enumerate(counts):
            best = losses[:count].mean(1).min()
            naive[draw_number, k] = best
            score = corrected_score(losses[:count], naive=float(best), folds=which, num_draws=200, seed=draw_number)
            corrected[draw_number, k] = score.estimate

    def draw(figure: plt.Figure, word: Word) -> None:
        axes: Axes = figure.subplots()
        axes.axhline(0.5, color=GREY, linestyle="--", label=word("truth", "真值"))
        lines = (
            (naive, RED, word("mean of the best", "最好者的平均损失")),
            (corrected, BLUE, word("corrected", "校正后")),
        )
        for values, color, label in lines:
            mean, error = values.mean(0), values.std(0) / np.sqrt(len(values))
            axes.errorbar(counts, mean, error, marker="o", color=color, label=label)
        axes.set(xscale="log", xticks=counts, xticklabels=counts, xlabel=word("configurations tried", "尝试的配置数"),
                 ylabel=word("loss", "损失"))  # fmt: skip
        axes.minorticks_off()
        axes.legend(loc="lower left")

    return draw, (6.5, 3.6)


def time_constants() -> Drawing:
    """The memory of the weights over the batch size."""
    batches = np.array([32, 64, 128, 256, 512, 1024])
    memory = [time_constant(1e-3, 0.1, steps_per_epoch=512_000 / size) for size in batches]

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        axes.plot(batches, memory, "o-", color=RED, label=word("decay kept at 0.1", "衰减保持 0.1"))
        kept = np.full(len(batches), memory[0])
        axes.plot(batches, kept, "o-", color=BLUE, label=word("decay follows the batch", "衰减随批大小变化"))
        for size, height in zip(batches, kept, strict=True):
            axes.annotate(f"{0.1 * size / 32:g}", (size, height), (0, -15), textcoords="offset points", ha="center",
                          color=BLUE)  # fmt: skip
        axes.set(xscale="log", yscale="log", xticks=batches, xticklabels=batches, ylim=(0.3, 30),
                 xlabel=word("batch size", "批大小"), ylabel=word("memory, epochs", "记忆（轮）"))  # fmt: skip
        axes.minorticks_off()
        axes.legend()

    return draw, (6.5, 3.4)


def repeated() -> Drawing:
    """What epochs of the same text are worth."""
    epochs = np.arange(1, 61)

    def draw(figure: plt.Figure, word: Word) -> None:
        axes = figure.subplots()
        axes.plot(epochs, epochs, color=GREY, linestyle="--", label=word("fresh text", "全新的文本"))
        axes.plot(epochs, [epochs_worth(int(n)) for n in epochs], color=BLUE, label=word("repeated", "重复的文本"))
        axes.set(
            ylim=(0, 20),
            xlabel=word("epochs", "轮数"),
            ylabel=word("worth, epochs of fresh text", "价值（全新文本的轮数）"),
        )
        axes.legend(loc="lower right")

    return draw, (6.5, 3.4)


FIGURES: dict[str, Callable[[], Drawing]] = {
    "overfitting": overfitting, "strength": strength, "scales": scales, "paths": paths, "zeros": zeros,
    "adam-decay": adam_decay, "folds": folds, "stop-bias": stop_bias, "best-of-many": best_of_many,
    "time-constant": time_constants, "epochs-worth": repeated,
}  # fmt: skip

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
