"""Load a suite: the whole file is checked before anything runs, and all its problems come at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.api.recipe import Recipe
from tlbench.api.trials import Choice
from tlbench.discovery.checks import SINGULAR
from tlbench.errors import unknown
from tlbench.parameters import schema as parameters
from tlbench.suite.choices import Named, Reader, one_meaning, unique
from tlbench.suite.files import find, read_with_bases
from tlbench.suite.filters import read_filters
from tlbench.suite.findings import Findings
from tlbench.suite.suite import Suite

if TYPE_CHECKING:
    from tlbench.plugins import Plugins
    from tlbench.suite.yaml import Place

FORMAT = 1
MAX_TRIALS = 1_000_000
MAX_SEEDS = 10_000
KEYS = (
    "tlbench",
    "name",
    "description",
    "expect",
    "data_root",
    "extends",
    "datasets",
    "sources",
    "targets",
    "pairs",
    "tasks",
    "backbones",
    "strategies",
    "seeds",
    "recipe",
    "source_recipe",
    "metrics",
    "include",
    "exclude",
    "timeout",
)
_MISSING = object()


def load(path_or_name: str | Path, plugins: Plugins) -> Suite:
    """The suite in a file, or the shipped suite of this name.

    Raises ``SuiteError`` with every problem, each as ``file:line:column: message`` in the order of the file.
    """
    path = find(path_or_name)
    findings = Findings(read_with_bases(path))
    suite = _read(path, findings, Reader(findings, plugins))
    findings.check()
    assert suite is not None  # nothing is missing where nothing was found wrong
    return suite


def _read(path: Path, findings: Findings, reader: Reader) -> Suite | None:
    data: dict[str, Any] = findings.document.data
    _check_keys(findings, data)
    for local, value in findings.mapping(("datasets",), data.get("datasets"), "a mapping of names").items():
        reader.define(("datasets", local), local, value)
    pairs, sources, targets = _pairs(findings, reader, data)
    tasks, backbones, strategies = (
        _axis(findings, reader, data, kind) for kind in ("tasks", "backbones", "strategies")
    )
    seeds = _seeds(findings, data.get("seeds", 3))
    recipe, source_recipe = _recipes(findings, data)
    metrics = _metrics(findings, reader, data.get("metrics", ["accuracy"]))
    axes = {"source": sources, "target": targets, "task": tasks, "strategy": strategies, "backbone": backbones}
    include, exclude = (
        read_filters(findings, reader.plugins, key, data.get(key), axes, seeds) for key in ("include", "exclude")
    )
    size = len(pairs) * len(tasks) * len(backbones) * len(strategies) * len(seeds)
    if size > MAX_TRIALS:
        findings.add((), f"this suite has {size:,} trials; at most {MAX_TRIALS:,} are planned at once")
    name = findings.text(("name",), data.get("name", path.stem))
    timeout = _timeout(findings, data.get("timeout"))
    long = {key: _long_text(findings, key, data.get(key)) for key in ("description", "expect")}
    root = _data_root(findings, data.get("data_root"))
    if recipe is None or source_recipe is None or name is None:
        return None
    return Suite(
        name=name,
        path=path,
        base=path.resolve().parent,
        description=long["description"],
        expect=long["expect"],
        data_root=root,
        sources=_all(sources),
        targets=_all(targets),
        pairs=tuple((source.choice, target.choice) for source, target in pairs),
        tasks=_all(tasks),
        backbones=_all(backbones),
        strategies=_all(strategies),
        seeds=seeds,
        recipe=Choice("recipe", "recipe", recipe),
        source_recipe=Choice("recipe", "recipe", source_recipe),
        metrics=metrics,
        include=include,
        exclude=exclude,
        timeout=timeout,
    )


def _all(found: list[Named]) -> tuple[Choice, ...]:
    return tuple(named.choice for named in found)


def _check_keys(findings: Findings, data: dict[str, Any]) -> None:
    for key in data:
        if key not in KEYS:
            findings.add((key,), unknown("key", key, KEYS), key=True)
    version = data.get("tlbench", _MISSING)
    if version is _MISSING:
        findings.add((), f"the key 'tlbench' is missing: the version of the format, 'tlbench: {FORMAT}'")
    elif version is True or version != FORMAT:
        findings.add(("tlbench",), f"this tlbench reads format {FORMAT}, not {findings.got(version)}")


def _axis(findings: Findings, reader: Reader, data: dict[str, Any], kind: str) -> list[Named]:
    if kind not in data:
        findings.add((), f"the key {kind!r} is missing")
        return []
    items = findings.items((kind,), data[kind], f"a list with the {kind}")
    return unique(
        findings, SINGULAR[kind], [named for place, item in items for named in reader.choices(kind, place, item)]
    )


# ---- sources, targets, pairs ---------------------------------------------------------------------


def _pairs(
    findings: Findings, reader: Reader, data: dict[str, Any]
) -> tuple[list[tuple[Named, Named]], list[Named], list[Named]]:
    """The pairs, and the sources and targets that occur; either listed, or sources × targets."""
    if "pairs" in data:
        for key in ("sources", "targets"):
            if key in data:
                findings.add(
                    (key,), f"{key!r} and 'pairs' exclude each other: list the pairs, or sources and targets", key=True
                )
        return _listed(findings, reader, data["pairs"])
    sides = []
    for key in ("sources", "targets"):
        if key not in data:
            findings.add((), f"the key {key!r} is missing (or list 'pairs')")
        items = findings.items((key,), data[key], f"a list with the {key}") if key in data else []
        found = [
            n for place, item in items for n in reader.choices("datasets", place, item, pretrained=key == "sources")
        ]
        sides.append(unique(findings, key[:-1], found))
    sources, targets = sides
    one_meaning(findings, SINGULAR["datasets"], sources + targets)
    pairs = [(s, t) for t in targets for s in sources if s.choice.digest != t.choice.digest]
    if sources and targets and not pairs:
        findings.add(("targets",), "no pair remains: the only source is the only target")
    return pairs, sources, targets


def _listed(
    findings: Findings, reader: Reader, value: Any
) -> tuple[list[tuple[Named, Named]], list[Named], list[Named]]:
    pairs: dict[tuple[str, str], tuple[Named, Named]] = {}
    if not isinstance(value, list):
        findings.wrong(("pairs",), value, "a list of pairs [source, target]")
        return [], [], []
    for place, item in findings.items(("pairs",), value, "a list of pairs [source, target]"):
        if not isinstance(item, list) or len(item) != 2:
            findings.add(place, "a pair is a list of two: [source, target]")
            continue
        sources = reader.choices("datasets", (*place, 0), item[0], pretrained=True)
        targets = reader.choices("datasets", (*place, 1), item[1])
        for source in sources:
            for target in targets:
                key = (source.choice.digest, target.choice.digest)
                if key in pairs:
                    findings.add(place, f"this pair is there already, in {findings.line(pairs[key][0].place)}")
                pairs.setdefault(key, (source, target))
    both = list(pairs.values())
    one_meaning(findings, SINGULAR["datasets"], [named for pair in both for named in pair])
    sides = [list({pair[side].choice.digest: pair[side] for pair in reversed(both)}.values())[::-1] for side in (0, 1)]
    return both, sides[0], sides[1]


# ---- the rest ------------------------------------------------------------------------------------


def _seeds(findings: Findings, value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= MAX_SEEDS:
            return tuple(range(value))
        findings.add(("seeds",), f"expected 1 to {MAX_SEEDS:,} seeds, got {value}")
    elif not isinstance(value, list) or not value:
        findings.wrong(("seeds",), value, "a number of seeds, or a list of seeds")
    elif len(value) > MAX_SEEDS:
        findings.add(("seeds",), f"expected at most {MAX_SEEDS:,} seeds, got {len(value):,}")
    else:
        for i, seed in enumerate(value):
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                findings.wrong(("seeds", i), seed, "a whole number from 0 on")
            elif value.index(seed) < i:
                findings.add(("seeds", i), f"the seed {seed} is there already")
        return tuple(seed for seed in value if isinstance(seed, int))
    return ()


def _recipes(findings: Findings, data: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The recipe of the trials, and that of the source models, which differs where ``source_recipe`` says so."""
    own, other = (
        findings.mapping((key,), data.get(key), "a mapping with the recipe") for key in ("recipe", "source_recipe")
    )
    first = _recipe(findings, own, dict.fromkeys(own, ("recipe",)))
    kept = {key: value for key, value in own.items() if not (key in _BUDGET and _BUDGET & set(other))}
    where: dict[str, Place] = {**dict.fromkeys(kept, ("recipe",)), **dict.fromkeys(other, ("source_recipe",))}
    second = _recipe(findings, {**kept, **other}, where)
    if second is not None and second["selection"] in ("target-val", "oracle"):
        second["selection"] = "last"  # a source model must not depend on any target, nor on a test set
    return first, second


_BUDGET = {"steps", "epochs"}
"""Ways to say how long: a source recipe that has one of them does not inherit the other."""


def _recipe(findings: Findings, params: dict[str, Any], where: dict[str, Place]) -> dict[str, Any] | None:
    sound = True
    for key, value in params.items():
        if isinstance(value, list):
            sound = False
            findings.add(
                (*where[key], key), "a recipe has no grids: give one value, and write a suite for each other one"
            )
    single = {key: value for key, value in params.items() if not isinstance(value, list)}
    for problem in parameters.problems(Recipe, single, of="the recipe"):
        sound = False
        known = bool(problem.path) and problem.path[0] in where
        place = (*where[str(problem.path[0])], *problem.path) if known else next(iter(where.values()), ())
        findings.add(place, problem.message, key="unknown" in problem.message)
    return parameters.complete(Recipe, single) if sound else None


def _metrics(findings: Findings, reader: Reader, value: Any) -> tuple[str, ...]:
    names: list[str] = []
    for place, item in findings.items(("metrics",), value, "a list of metrics"):
        name = reader.metric(place, item)
        if name is not None and name in names:
            findings.add(place, f"metric {name!r} is there already")
        elif name is not None and not names and not reader.scores(name):
            findings.add(place, f"metric {name!r} compares backbones and is no score: name a score before it")
        elif name is not None:
            names.append(name)
    return tuple(names)


def _timeout(findings: Findings, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        findings.wrong(("timeout",), value, "a positive number of seconds")
        return None
    return float(value)


def _long_text(findings: Findings, key: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        findings.wrong((key,), value, "text")
        return ""
    return value.strip()


def _data_root(findings: Findings, value: Any) -> Path | None:
    """A path relative to the file that it is written in, which may be one that the suite extends."""
    if value is None:
        return None
    text = findings.text(("data_root",), value, "the path of a folder, which is text")
    return None if text is None else (Path(findings.document.mark(("data_root",)).file).parent / text).resolve()
