"""Commands that run bundles: train, evaluate, predict, report, copy-bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from monai_cpic.cli import bundles
from monai_cpic.cli.command import Command
from monai_cpic.cli.scans import is_table, write_scan_table

__all__ = ["copy_bundle", "evaluate", "predict", "report", "train"]

EXISTING = click.Path(exists=True, path_type=Path)
OWN_COHORT = "volume_regression"  # the bundle of any table


def _settings(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    """Pairs ``KEY=VALUE`` as settings of a configuration."""
    pairs = [text.partition("=") for text in given]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE", context, parameter)
    return {key: bundles.value(text) for key, _, text in pairs}


def _column(context: click.Context, parameter: click.Parameter, given: str | Sequence[str] | None) -> str | Sequence[str] | None:
    """Names of columns, which a configuration must not take for something else."""
    from monai_cpic.cohorts.table.fitting import SIGNS  # what trains is imported when something is trained

    for name in [given] if isinstance(given, str) else given or ():
        if name.startswith(SIGNS):
            raise click.BadParameter(
                f"{name!r} begins as expressions of a configuration do: rename the column", context, parameter
            )
    return given


overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_settings,
    help="A setting of the bundle's configuration; may be repeated.",
)
column = partial(click.option, metavar="COLUMN", callback=_column)
model = click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.command(cls=Command, short_help="Train on a table of scans and targets.")
@click.argument("table", type=EXISTING)
@column("--image", "images", multiple=True, required=True, help="Column of the scans; several: channels.")
@column("--target", required=True, help="Column of what is predicted.")
@click.option("-o", "--output", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of the results.")
@column("--event", help="Of a survival, whose time is the target: whether it ended with the event.")
@column("--covariate", "covariates", multiple=True, help="Column of numbers or text; may be repeated.")
@column("--patient", help="Column that names the patient; default: the first.")
@click.option("--fold", type=int, help="Which part of the patients is left out for validation.")
@click.option("--all-folds", is_flag=True, help="Train the networks of all folds, and predict by their mean.")
@click.option("--epochs", type=int, help="How often the training sees each scan.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training in the same folder.")
@overrides
def train(
    table: Path,
    images: Sequence[str],
    target: str,
    output: Path,
    event: str | None,
    covariates: Sequence[str],
    patient: str | None,
    fold: int | None,
    all_folds: bool,
    epochs: int | None,
    resume: bool,
    overrides: dict[str, Any],
) -> None:
    """Train on a TABLE of scans and targets, one row for each, and evaluate on the patients left out.

    With --all-folds every patient is left out once, and the metrics and the report are of all patients.

    TABLE is .csv, .tsv or .xlsx; paths in it are relative to it.  Settings: configs/train.yaml and docs/README.md of
    "monai-cpic copy-bundle volume_regression DIR".
    """
    if all_folds and fold is not None:
        raise click.UsageError("--all-folds trains every fold: leave --fold out")
    given = {
        "event": event,
        "covariate_columns": list(covariates) or None,
        "patient_column": patient,
        "fold": fold,
        "max_epochs": epochs,
        "resume": resume or None,
    }
    settings: dict[str, Any] = {"table": str(table), "image_columns": list(images), "target": target, "output_dir": str(output)}
    settings |= {key: value for key, value in given.items() if value is not None}
    bundles.run_bundle(OWN_COHORT, ["train", "all_folds"] if all_folds else ["train"], {**settings, **overrides})


@click.command(cls=Command, short_help="Evaluate a model on the patients left out.")
@model
@click.argument("data", type=EXISTING)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the results; default: evaluation, beside MODEL.")
@overrides
def evaluate(model: Path, data: Path, output: Path | None, overrides: dict[str, Any]) -> None:
    """Evaluate a trained MODEL (model.pt) on the patients that were left out of its training.

    DATA is what it was trained on: the table, or the folder of a cohort such as OSIC or BraTS.
    """
    bundle = _trained_with(model)["bundle"]
    settings = {"model": str(model), "output_dir": str(output or model.parent / "evaluation"), _data_setting(bundle): str(data)}
    bundles.run_bundle(bundle, ["evaluate"], {**settings, **overrides})


@click.command(cls=Command, short_help="Predict new scans.")
@model
@click.argument("scans", nargs=-1, required=True, type=EXISTING)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the results; default: inference, beside MODEL.")
@click.option("--resume", is_flag=True, help="Predict only what the folder of the results lacks.")
@overrides
def predict(model: Path, scans: Sequence[Path], output: Path | None, resume: bool, overrides: dict[str, Any]) -> None:
    """Predict SCANS by a trained MODEL (model.pt).

    SCANS are files, DICOM folders, folders of these, or one table with the columns of the training.  A model of OSIC or BraTS
    takes the folder of a cohort.  Each prediction is written to predictions.jsonl as soon as it is made, and all of them to
    predictions.csv at the end; scans that cannot be predicted are listed in failures.csv, and the exit status is 1.  Several
    processes share the scans: "torchrun --nproc_per_node=4 -m monai_cpic.cli predict ...", or srun.
    """
    trained = _trained_with(model)
    bundle, folder = trained["bundle"], output or model.parent / "inference"
    if bundle == OWN_COHORT:
        given = len(scans) == 1 and is_table(scans[0])
        data = scans[0] if given else write_scan_table(trained["cohort_settings"], scans, folder)
    elif len(scans) == 1:
        data = scans[0]
    else:
        raise ValueError(f"a model of {bundle} takes the folder of a cohort, got {len(scans)} paths")
    settings = {"model": str(model), "output_dir": str(folder), "resume": resume, _data_setting(bundle): str(data)}
    bundles.run_bundle(bundle, ["inference"], {**settings, **overrides})


@click.command(cls=Command, short_help="Print the scores of finished runs.")
@click.argument("runs", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path), default=[Path("runs")])
def report(runs: Sequence[Path]) -> None:
    """Print the scores of finished RUNS (default: runs), and where their reports with all figures are.

    "monai-cpic evaluate" writes the report of a trained model anew.
    """
    for run in runs:
        path, page = run / "metrics.json", run / "report.html"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: name the folder of a run that has ended")
        if not page.is_file():
            raise FileNotFoundError(f"{page} does not exist: write it anew by monai-cpic evaluate {run / 'model.pt'} DATA")
        click.echo(page.resolve())
        for name, scores in json.loads(path.read_text(encoding="utf-8")).items():
            if not isinstance(scores, dict):
                click.echo(f"  {name}: {scores}")
                continue
            texts = [_score(scores, score) for score in scores if not score.endswith("_interval")]
            click.echo(f"  {name}: {', '.join(texts)}")


@click.command("copy-bundle", cls=Command, short_help="Copy a bundle to a new folder.")
@click.argument("name", type=click.Choice(bundles.bundle_names()))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def copy_bundle(name: str, folder: Path) -> None:
    """Copy the bundle NAME to a new FOLDER, to read and change its configurations.

    Run it by "python -m monai.bundle run --config_file FOLDER/configs/train.yaml --bundle_root FOLDER".
    """
    bundles.copy_bundle(name, folder)
    click.echo(f"{folder.resolve()} holds the bundle {name}; docs/README.md has its commands.")


def _trained_with(model: Path) -> Mapping[str, Any]:
    """The settings of a model's training, by one of the bundles.

    Raises:
        ValueError: if it was trained by something else.
    """
    from monai_cpic.model_files import read_model

    settings = read_model(model).record.settings
    name = settings.get("bundle")
    if name not in bundles.bundle_names():
        raise ValueError(
            f"{model} was trained by {f'the bundle {name}' if name else 'none of the bundles'}, which is not installed here: "
            "use its own configurations (python -m monai.bundle run)"
        )
    return settings


def _data_setting(bundle: str) -> str:
    """The setting that names a bundle's data."""
    return "table" if bundle == OWN_COHORT else "dataset_dir"


def _score(scores: dict[str, Any], name: str) -> str:
    value, interval = scores[name], scores.get(f"{name}_interval")
    text = f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
    return f"{text} ({interval[0]:.4g} to {interval[1]:.4g})" if interval and None not in interval else text
