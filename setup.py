"""What setup.cfg cannot say: the bundles are part of the package, and the README's links lead to the repository."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

metadata = ConfigParser()
metadata.read("setup.cfg", encoding="utf-8")
url = metadata["metadata"]["url"]
readme = Path("README.md").read_text(encoding="utf-8")
readme = re.sub(r"(!\[[^]]*\])\((?!http)", rf"\1({url}/raw/main/", readme)
readme = re.sub(r"\]\((?!http)", f"]({url}/blob/main/", readme)
folders = sorted(configs.parent for configs in Path("bundles").glob("*/configs"))
bundles = {f"monai_cpic.bundles.{folder.name}": folder.as_posix() for folder in folders}
setup(
    long_description=readme,
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["monai_cpic*"]), *bundles],
    package_dir=bundles,
    package_data={
        "monai_cpic": ["py.typed", "reporting/*.j2"],
        **{name: ["LICENSE", "configs/*", "docs/*", "models/*"] for name in bundles},
    },
)
