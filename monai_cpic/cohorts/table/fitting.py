"""The cohort of a table, fitted to its training patients."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from monai_cpic.cohorts.folds import training_part
from monai_cpic.cohorts.table.cohort import TableCohort
from monai_cpic.cohorts.table.covariates import Covariates
from monai_cpic.cohorts.table.lines import check_unmixed, cohort_lines, with_target
from monai_cpic.cohorts.table.scans import checked_scans
from monai_cpic.cohorts.table.targets import target_kind
from monai_cpic.cohorts.tables import Problems

__all__ = ["fit_table"]

logger = logging.getLogger(__name__)

SIGNS = ("$", "%", "@")  # with which expressions, macros and references of a configuration begin


def fit_table(
    table: str | Path,
    images: Sequence[str],
    target: str,
    event: str | None = None,
    kind: str | None = None,
    covariates: Sequence[str] = (),
    patient: str | None = None,
    exclude: Collection[str] = (),
    n_folds: int = 5,
    fold: int | str = 0,
    seed: int = 0,
) -> TableCohort:
    """The cohort of a table, with everything that predictions depend on found in the training patients of a fold.

    Args:
        table: the file, see :func:`~monai_cpic.cohorts.table.lines.read_table`.
        images: names of the columns of scans.
        target: name of the column of the target; of a survival, the time.
        event: of a survival, name of the column that says whether the time ended with the event.
        kind: of the target, one of ``"number"``, ``"classes"`` and ``"survival"``; None: by its values.
        covariates: names of the columns of covariates.
        patient: name of the column of patients; None: the first.
        exclude: patients to leave out.
        n_folds: see :func:`~monai_cpic.cohorts.folds`.
        fold: likewise; ``"all"``: everything is found in all patients, so that the networks of all folds have the same units.
        seed: likewise.

    Raises:
        FileNotFoundError: when the table, or a scan that it names, does not exist.
        ValueError: when a column is missing, entries are broken, two patients have one scan, a text begins with one of ``$``,
            ``%`` and ``@``, or the target or a covariate cannot be used; the message says which and what to do.
    """
    path = Path(table)
    columns = [target, *([] if event is None else [event])]
    if isinstance(images, str) or not images or isinstance(covariates, str):
        raise ValueError(f"images and covariates are lists of columns, such as ['ct'], got {images!r} and {covariates!r}.")
    if event is not None and kind not in (None, "survival"):
        raise ValueError(f"{path}: a target of the kind {kind!r} has no event: leave one of the two out.")
    known = with_target(path, cohort_lines(path, patient, [*images, *covariates, *columns], exclude), columns)
    for name in [*covariates, *([target] if event is None and kind is None else [])]:
        check_unmixed(path, known[name])
    problems = Problems(path, known)
    found = target_kind(kind, [known[column] for column in columns]).of(known, columns, problems)
    problems.raise_if_any()
    for name in covariates:
        if found.equals(known[name], known):
            raise ValueError(f"{path}: the covariate {name!r} equals the target {target!r}: leave it out of the covariates.")
    try:
        of_all = Covariates.fit(known, known, covariates)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for text in _texts([found.settings, of_all.settings]):
        if text.startswith(SIGNS):
            raise ValueError(f"{path}: {text!r} begins with {text[0]!r}, as expressions of a configuration do: rename it.")
    _say_what_it_is(path, known, found.kind, of_all, [*images, *covariates], columns)
    items = TableCohort(patient, images, 1, found, of_all, exclude).items(path, known)  # for the folds
    training = training_part(items, n_folds, fold, seed)
    encoding = Covariates.fit(known, known.loc[[line for item in training for line in item["lines"]]], covariates)
    (first,) = checked_scans(path, [training[0]["patient"]], [training[0]["files"]], None)
    fitted = found.fitted(torch.cat([item["values"] for item in training]).numpy())
    return TableCohort(patient, images, first.shape[0], fitted, encoding, exclude)


def _texts(settings: Any) -> Iterator[str]:
    """All texts in plain values."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        yield from _texts(list(settings.values()))
    elif isinstance(settings, (list, tuple)):
        for each in settings:
            yield from _texts(each)


def _say_what_it_is(
    path: Path, lines: pd.DataFrame, kind: str, covariates: Covariates, known: Sequence[str], columns: Sequence[str]
) -> None:
    """Log what the table was taken for, and lines that are there twice."""
    first = lines.columns[0]
    of_numbers, of_texts = ([c.name for c in own] for own in (covariates.number_columns, covariates.text_columns))
    found = [
        f"{len(lines)} lines of {lines[first].nunique()} patients by the column {first!r}",
        f"the target {columns[0]!r}: {kind}",
    ]
    found += [
        f"covariates of {what}: {', '.join(names)}" for what, names in (("numbers", of_numbers), ("texts", of_texts)) if names
    ]
    logger.info("%s: %s.", path, "; ".join(found))
    alike = lines.duplicated([first, *known])
    same = lines.duplicated([first, *known, *columns])
    for doubled, of_target in ((same, "also in the target"), (alike & ~same, "but not in the target")):
        if doubled.any():
            logger.warning(
                "%s: %d lines equal earlier ones in patient, scans and covariates, %s, the first is line %d; each counts.",
                *(path, doubled.sum(), of_target, lines.index[doubled][0]),
            )
