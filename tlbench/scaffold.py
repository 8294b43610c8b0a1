"""The scaffold: a small, complete, installable plugin to start from."""

from __future__ import annotations

import re
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from tlbench import __version__
from tlbench.api.hooks import API_VERSION
from tlbench.errors import PluginError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "tlbench-"
_MAX_LENGTH = 60


def new_plugin(name: str, folder: Path) -> list[Path]:
    """Write the distribution ``tlbench-NAME`` into ``folder`` and return its files.

    It has an entry point, one strategy called ``name``, tests of its formula and of the contract, a README and a
    suite. Raises ``PluginError`` for a name that no distribution can have, and where something stands in the way.
    """
    name = name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        mended = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:_MAX_LENGTH].strip("-")
        guess = f" Did you mean {mended!r}?" if _NAME.fullmatch(mended) else ""
        raise PluginError(
            f"{name!r} cannot name a plugin: use small letters, digits and hyphens, beginning with a letter, "
            f"at most {_MAX_LENGTH} characters.{guess}"
        )
    identifier = name.replace("-", "_")
    module = f"tlbench_{identifier}"
    words = {
        "name": name,
        "identifier": identifier,
        "distribution": f"{_PREFIX}{name}",
        "module": module,
        "version": __version__,
        "api": str(API_VERSION),
    }
    templates = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        "suite.yaml": "suite.yaml.in",
        f"src/{module}/__init__.py": "init.py.in",
        f"src/{module}/strategy.py": "strategy.py.in",
        f"tests/test_{identifier}.py": "test_plugin.py.in",
    }
    root = folder / words["distribution"]
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise PluginError(f"{root} exists and is not an empty folder; choose another name or move it away")
        return [_write(root / path, template, words) for path, template in templates.items()]
    except OSError as error:
        raise PluginError(f"{root} cannot be written: {error.strerror or error}") from error


def _write(path: Path, template: str, words: dict[str, str]) -> Path:
    source = resources.files("tlbench") / "scaffold_template" / template
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    return path
