"""What models know by heart, as sections of a report."""

from __future__ import annotations

from meden.diagnosis.memory.memorisation import Memorisation
from meden.report import Column, Key, ReportTable, Section, TableRow, Tile
from meden.report.exposure import CHANCE, COLOURS, roc_chart
from meden.report.numbers import plural
from meden.study.results import Results
from meden.study.row_losses import are_kept
from meden.study.tradeoff import tradeoff_of

BY_LOSS, BY_RATIO = "by the loss", "by likelihood ratios"
TABLE = (
    "The table lists the rows whose losses differ most between fits that included them and fits that did not, in "
    "standard deviations of comparable fits: only rows more exposed than the most exposed of as many rows would be "
    "by chance."
)


def tradeoff_section(results: Results) -> Section | None:
    """Return loss against what is known by heart; None where losses were kept of fewer than two configurations."""
    return tradeoff_of(results).section() if sum(are_kept(results, trial) for trial in results.trials) > 1 else None


def memorisation_section(found: Memorisation) -> Section:
    """Return how surely losses tell which rows a model was fitted on, and of which rows most."""
    attacks = {BY_LOSS: found.loss} | ({BY_RATIO: found.lira} if found.lira is not None else {})
    keys = tuple(Key(name, "—", colour) for name, colour in zip(attacks, COLOURS, strict=False))
    columns = (
        *(Column("row"), Column("class", numeric=False), Column("loss if fitted", measured=True)),
        *(Column("loss if unseen", measured=True), Column("exposure", measured=True), Column("error", measured=True)),
    )
    rows = tuple(
        TableRow((row.row, row.label, row.fitted_loss, row.unseen_loss, row.exposure, row.error))
        for row in found.exposed
    )
    text = (
        "Anyone who knows the loss of a row can guess whether the model was fitted on it; the more the model has "
        "memorised, the more often the guess is right. An AUC of 0.5 is chance. Based on "
        f"{plural(found.num_models, 'fit')} and {plural(found.num_rows, 'row')}; {'; '.join(found.sentences())}.",
        *([TABLE] if rows else []),
    )
    return Section(
        title="What the models memorise",
        text=text,
        keys=(*keys, CHANCE),
        charts=(roc_chart("Members found", {name: attack.curve for name, attack in attacks.items()}),),
        table=ReportTable(columns, rows) if rows else None,
    )


def memorisation_tiles(found: Memorisation) -> tuple[Tile, ...]:
    """Return the AUC of each attack."""
    attacks = {BY_LOSS: found.loss} | ({BY_RATIO: found.lira} if found.lira is not None else {})
    return tuple(
        Tile(
            f"AUC of membership {name}",
            f"{attack.auc.value:.3f}",
            f"95 % interval {attack.auc.low:.3f} to {attack.auc.high:.3f}",
        )
        for name, attack in attacks.items()
    )
