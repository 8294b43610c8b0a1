"""The commands about what is installed: list, describe, plugins, schema."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, Parser, discover, say

if TYPE_CHECKING:
    import argparse

KINDS = ("strategies", "backbones", "datasets", "tasks", "metrics", "executors", "reporters")


def add(command: Commands) -> None:
    """Add them."""
    listing = command("list", _list, "what is installed: strategies, backbones, datasets, tasks, ...")
    listing.add_argument("kind", choices=KINDS)
    listing.add_argument("--json", action="store_true", help="as JSON")

    describe = command("describe", _describe, "all about one strategy, backbone, data set, task, metric, ...")
    describe.add_argument("name")
    describe.add_argument("--json", action="store_true", help="as JSON")

    plugins = command("plugins", _plugins, "the plugins that were found, and why some did not load")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    below = plugins.add_subparsers(metavar="new", parser_class=Parser)
    new = below.add_parser("new", help="write a small, complete, installable plugin")
    new.add_argument("name", help="name of the plugin, such as my-method")
    new.add_argument("--into", type=Path, default=Path(), help="folder to write it into (default: here)")
    new.set_defaults(call=_new_plugin)

    command("schema", _schema, "the JSON Schema of suites, with the installed plugins, for editors")


def _list(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = discover(args)
    return say(args, partial(catalog.list_json, plugins, args.kind), partial(catalog.list_table, plugins, args.kind))


def _describe(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = discover(args)
    return say(
        args, partial(catalog.describe_json, plugins, args.name), partial(catalog.describe_text, plugins, args.name)
    )


def _plugins(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = discover(args)
    return say(args, partial(catalog.plugins_json, plugins), partial(catalog.plugins_table, plugins))


def _new_plugin(args: argparse.Namespace) -> int:
    from tlbench.scaffold import new_plugin

    for path in new_plugin(args.name, args.into):
        print(path)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from tlbench.suite.schema import json_schema

    print(json.dumps(json_schema(discover(args)), indent=2))
    return 0
