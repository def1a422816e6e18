"""The committed configurations are what their templates give."""

from __future__ import annotations

import importlib.util
from pathlib import Path

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_configurations_are_generated() -> None:
    specification = importlib.util.spec_from_file_location("generate", BUNDLES / "generate.py")
    assert specification is not None and specification.loader is not None
    generate = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    generated = generate.generated()
    assert set(generated) == {*BUNDLES.glob("*/configs/*"), *BUNDLES.glob("*/LICENSE")}
    for path, text in generated.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} differs from its template: run python bundles/generate.py"
