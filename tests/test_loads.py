"""Files of torch are loaded without running code, whatever the default of the installed torch is."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_load_is_of_weights_only() -> None:
    found = []
    for path in [*(REPOSITORY / "monai_cpic").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                found.append((f"{path.relative_to(REPOSITORY)}, line {node.lineno}", options.get("weights_only")))
    assert len(found) > 3
    assert not [place for place, value in found if value != "True"]
