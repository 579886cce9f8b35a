"""The recipe of a study's choice: the very file that trains it."""

from __future__ import annotations

from pathlib import Path

from meden.language import Own
from meden.recipe import Recipe
from meden.report import Code, Section, run_folder
from meden.report.numbers import plural
from meden.report.recipes import recipe_text
from meden.study.results import REFIT, Results


def recipe_section(results: Results, path: Path) -> Section:
    """Return the text of the ``recipe.yaml`` that a refit writes, and how to use it."""
    if results.model.trains:
        return _settings_section(results, path)
    recipe, model_args = final_recipe(results)
    fixed = {**results.model.arguments, **model_args}
    arguments = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
    own = results.model.name is not None and not results.model.arguments
    maker = results.model.text if own else "make_model"
    made_with = ", ".join(["num_inputs", "num_outputs"] * own + [arguments] * bool(arguments))
    epochs = plural(max(1, results.choice.median_epoch), "epoch")
    use = f"""import meden

run = study.refit()                                # trains it on all rows, for {epochs}
run.predict(rows)

run = meden.load_run({run_folder(path)!r}, {maker})  # or: the model that was refitted and saved
recipe = meden.Recipe.load("recipe.yaml")          # or: the text above, for a loop of your own
run = meden.fit({maker}({made_with}), train=(X, y), recipe=recipe)"""
    text = ("Everything that decides how the choice is trained on all rows, apart from the model and the data.",)
    codes = (Code("recipe.yaml", recipe_text(recipe)), Code("In Python", use))
    facts = {"Arguments of the model": arguments} if fixed else {}
    return Section(title="The recipe of the choice", text=text, codes=codes, facts=facts)


def _settings_section(results: Results, path: Path) -> Section:
    """Return the settings of a training function, and how to call it on all rows."""
    chosen = results.choice
    use = f"""import meden

study = meden.load_study({str(path.parent)!r})
job = meden.Job(params=study.choice.params, fit=rows, stop=stop_rows, score=[], epochs={max(1, chosen.median_epoch)})
train(job)  # {results.model.text}"""
    text = ("The settings that the training function is called with; it decides everything else itself.",)
    settings = {Own(name): Own(repr(value)) for name, value in chosen.params.items()}
    epochs = {"Epochs": f"{max(1, chosen.median_epoch)}, the median of the folds"}
    return Section(
        title="The settings of the choice", text=text, codes=(Code("In Python", use),), facts=settings | epochs
    )


def final_recipe(results: Results) -> tuple[Recipe, dict[str, object]]:
    """Return the recipe that the models are trained by in the end, and the arguments of the model."""
    return results.recipe_of(results.choice) if results.notes.get(REFIT) == "folds" else results.final()
