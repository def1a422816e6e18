"""A configuration as plain values: settings, and the parts that are built from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from monai.bundle import ConfigComponent, ConfigExpression, ConfigParser, ReferenceResolver

from monai_cpic.model_files.running_parser import running_parser

if TYPE_CHECKING:
    from monai_cpic.model_files.model_file import ModelFile

__all__ = ["check_given", "described", "disagreements", "plain"]

OF_A_RUN = frozenset(  # where and how a run works, names of patients, and what follows from the weights
    {
        "imports",
        "bundle_root",
        "dataset_dir",
        "table",
        "output_dir",
        "device",
        "threads",
        "scans_on_device",
        "num_workers",
        "tensorboard",
        "mlflow",
        "resume",
        "exclude",
        "fold",
        "seed",
        "fitted",
    }
)
FREE = frozenset({"batch_size"})  # predictions do not depend on it


def described(parts: Sequence[str], without: Collection[str] = ()) -> dict[str, Any]:
    """Describe the running configuration by plain values: its settings, and how its parts are built.

    Settings are all values at the top of the configuration that need no evaluation, except paths and whatever else belongs to a
    single run.  A part is described with all parts and settings that it refers to.  References (``@id``) and ``_target_`` remain;
    each expression (``$...``) is replaced by its value.  From the result, :class:`~monai_cpic.model_files.ModelFile` builds the
    parts without evaluating an expression.

    Args:
        parts: ids of parts, at the top of the configuration.
        without: ids of parts that only the training needs; references to them become None.

    Returns:
        From ids at the top of the configuration to None, booleans, numbers, strings, and lists and dictionaries of these.

    Raises:
        ValueError: if the value of an expression cannot be represented so.
        RuntimeError: if the caller is not an expression of a configuration.
    """
    description = _Description(running_parser(), without)
    for name, value in description.parser.get().items():
        if not name.startswith("_") and name not in OF_A_RUN and name not in without and _needs_no_evaluation(value):
            description.add(name)
    for part in parts:
        description.add(part)
    return description.found


def check_given(model: ModelFile, name: str = "model_file") -> None:
    """Check that what the running configuration says of a model's settings and parts agrees with the model.

    Configurations that predict take all of these from the model; whoever gives one beside it, on the command line or in a further
    file, is told if it disagrees.

    Args:
        model: the model.
        name: id of the model in the configuration; values that refer to it are the model's own.

    Raises:
        ValueError: if one disagrees; the message names all of them with both values.
        RuntimeError: if the caller is not an expression of a configuration.
    """
    description = _Description(running_parser(), ())
    trained = {**model.record.settings, "fold": model.record.fold, "seed": model.record.seed}
    given = {}
    for key in trained:
        value = description.parser.get(key)
        own = ConfigExpression.is_expression(value) and name in ReferenceResolver.match_refs_pattern(value)
        if key in description.parser and not own and key not in FREE:
            given[key] = description.value(value, key)
    found = disagreements(given, trained, "given", "in the model")
    if found:
        lines = "\n  ".join(found)
        raise ValueError(f"settings disagree with {model.path}; leave them out, or train anew with them:\n  {lines}")


def disagreements(ours: Mapping[str, Any], theirs: Mapping[str, Any], we: str, they: str) -> list[str]:
    """One line for each value of ``ours`` that differs in ``theirs``; mappings are compared key by key.

    Example:
        >>> disagreements({"rank": 6, "head": {"width": 3}}, {"rank": 8, "head": {"width": 3, "depth": 1}}, "here", "there")
        ['rank: 6 (here), 8 (there)']
    """
    lines = []
    for key, value in ours.items():
        other = theirs.get(key, "nothing")
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            lines += [f"{key}::{line}" for line in disagreements(value, other, we, they)]
        elif value != other:
            lines.append(f"{key}: {value!r} ({we}), {other!r} ({they})")
    return lines


def plain(value: Any, name: str) -> Any:
    """A value as None, a boolean, a number, a string, or lists and dictionaries of these.

    Raises:
        ValueError: if it is something else; the message contains ``name``.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner, f"{name}::{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, f"{name}::{position}") for position, inner in enumerate(value)]
    raise ValueError(
        f"{name} is {value!r}, but a model file holds numbers, strings, and lists and mappings of these only: "
        "write it as a part of its own (_target_) instead of an expression"
    )


def _needs_no_evaluation(value: Any) -> bool:
    """Whether a configuration is a value as it stands."""
    if isinstance(value, dict):
        return not ConfigComponent.is_instantiable(value) and all(map(_needs_no_evaluation, value.values()))
    if isinstance(value, list):
        return all(map(_needs_no_evaluation, value))
    return not isinstance(value, str) or not value.startswith(("$", "@", "%"))


class _Description:
    """Collects the plain form of ids at the top of a configuration, and of what they refer to."""

    def __init__(self, parser: ConfigParser, without: Collection[str]) -> None:
        self.parser = parser
        self.without = without
        self.found: dict[str, Any] = {}

    def add(self, name: str) -> None:
        if name not in self.found and name in self.parser:  # MONAI says what is missing when it builds the part
            self.found[name] = None  # it may refer to itself
            self.found[name] = self.value(self.parser[name], name)

    def value(self, config: Any, name: str) -> Any:
        """The plain form of ``config``, whose id is ``name``."""
        if isinstance(config, dict):
            return {key: self.value(inner, f"{name}::{key}") for key, inner in config.items()}
        if isinstance(config, list):
            return [self.value(inner, f"{name}::{position}") for position, inner in enumerate(config)]
        if not isinstance(config, str):
            return plain(config, name)
        referred = [reference.split("::")[0] for reference in ReferenceResolver.match_refs_pattern(config)]
        if ConfigExpression.is_expression(config):
            for reference in referred:
                if _needs_no_evaluation(self.parser.get(reference)):
                    self.add(reference)
            # not by the parser, which would begin anew
            return plain(self.parser.ref_resolver.get_resolved_content(name), name)
        if config.startswith("@"):
            if referred[0] in self.without:
                return None
            self.add(referred[0])
        return config
