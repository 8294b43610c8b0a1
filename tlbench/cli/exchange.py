"""The commands about runs that change hands: merge, verify, sign, rescore."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.cli.shared import Commands, cache_folder, check_data_root, console, discover, say
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tlbench.api.records import Record
    from tlbench.plugins import Plugins
    from tlbench.results.rerun import Rerun


def add(command: Commands) -> None:
    """Add them."""
    merge = command("merge", _merge, "unite runs of several machines; what contradicts is named", plugins=False)
    merge.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    merge.add_argument("--out", type=Path, required=True, help="new run folder")
    merge.add_argument(
        "--prefer",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="where results differ take this run's (default: leave the trial out)",
    )
    merge.add_argument("--json", action="store_true", help="as JSON")

    verify = command("verify", _verify, "check a run throughout, run a sample of it again, and write down what held")
    verify.add_argument("run", type=Path, metavar="RUN")
    verify.add_argument("--rerun", type=int, default=0, metavar="N", help="results to run again, drawn at random")
    verify.add_argument("--seed", type=int, help="of the sample (default: drawn, and written down)")
    verify.add_argument("--tolerance", type=float, help="how far a score may be off (default: by its standard error)")
    verify.add_argument("--signer", type=Path, metavar="PUBKEY", help="file of the public key that must have signed")
    verify.add_argument("--out", type=Path, help="file for what was found (default: RUN/verification.json)")
    verify.add_argument("--base", type=Path, default=Path(), help="folder that relative paths of data start at")
    verify.add_argument("--data-root", type=Path, help="folder whose owner/name folders stand in for the hub")
    verify.add_argument("--cache", type=Path, help="folder for decoded data (default: the user's cache folder)")
    verify.add_argument("--executor", default="workers", help="who runs the trials (see `tlbench list executors`)")
    verify.add_argument("--workers", type=int, help="trials at once")
    verify.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: as the records)")
    verify.add_argument("--threads", type=int, help="CPU threads of each trial (default: as the records)")
    verify.add_argument("--timeout", type=float, help="seconds for each trial")
    verify.add_argument("--plain", action="store_true", help="run again with every way of going faster switched off")
    verify.add_argument("--json", action="store_true", help="as JSON")

    sign = command("sign", _sign, "sign the records of a run with an Ed25519 key", plugins=False)
    sign.add_argument("run", type=Path, metavar="RUN")
    sign.add_argument(
        "--key", type=Path, required=True, help="private key: openssl genpkey -algorithm ed25519 -out key.pem"
    )
    sign.add_argument("--name", default="", help="who signs, for people")

    rescore = command("rescore", _rescore, "add metrics from stored predictions, without training again")
    rescore.add_argument("run", type=Path, metavar="RUN")
    rescore.add_argument("--metric", action="append", required=True, help="a metric to add; may be given repeatedly")
    rescore.add_argument("--out", type=Path, help="new run folder (default: add to RUN)")
    rescore.add_argument("--json", action="store_true", help="as JSON")


def _merge(args: argparse.Namespace) -> int:
    from tlbench.results.exchange_view import merged_view
    from tlbench.results.merge import merge

    found = merge(args.runs, args.out, args.prefer)
    say(args, found.to_json, partial(merged_view, found))
    return 0 if found.ok else 2


def _verify(args: argparse.Namespace) -> int:
    from tlbench.results.exchange_view import verification_view
    from tlbench.results.verify import FILE, standing, verify, write

    if args.rerun < 0:
        raise TlbenchError(f"--rerun {args.rerun}: must be at least 0")
    if args.tolerance is not None and not args.tolerance >= 0:
        raise TlbenchError(f"--tolerance {args.tolerance:g}: must be at least 0")
    check_data_root(args.data_root)
    plugins = discover(args)
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big")
    sample = {"asked": args.rerun, "seed": seed, "tolerance": args.tolerance} if args.rerun else {}
    again = partial(_again, args, plugins, seed) if args.rerun else None
    found = verify(args.run, plugins, rerun=again, sample=sample, signer=args.signer)
    # a sample that was run again says more of the same records than looking at them once more
    before = standing(args.run) if args.out is None and not args.rerun and not found.faults else None
    kept = before is not None and before.status == "verified"
    path = args.run / FILE if kept else write(found, args.out or args.run / FILE)
    if args.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        screen = console()
        screen.print(verification_view(found))
        said = f"{path} is kept: {before.text}" if before and kept else f"written to {path}"
        screen.print(said, style="dim", markup=False, soft_wrap=True)
    return 2 if found.faults else 0


def _again(args: argparse.Namespace, plugins: Plugins, seed: int, records: Mapping[str, Record]) -> Iterator[Rerun]:
    from tlbench.results.rerun import Again, on_gpu, rerun, sampled

    keys = sampled(records, args.rerun, seed)
    device = args.device
    if device == "auto":
        device = "cpu"
        if on_gpu({key: records[key] for key in keys}):
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
    how = Again(
        cache=cache_folder(args.cache),
        base=args.base,
        data_root=args.data_root,
        executor=args.executor,
        workers=args.workers,
        device=device,
        threads=args.threads,
        timeout=args.timeout,
        tolerance=args.tolerance,
        plain=args.plain,
    )
    screen = console(stderr=True)

    def tell(text: str) -> None:
        screen.print(text, style="dim", markup=False, soft_wrap=True)

    return rerun(records, keys, plugins, how, tell)


def _sign(args: argparse.Namespace) -> int:
    from tlbench.results.signatures import sign
    from tlbench.results.store import RunFolder

    RunFolder.open(args.run)
    print(sign(args.run, args.key, args.name))
    return 0


def _rescore(args: argparse.Namespace) -> int:
    from tlbench.results.exchange_view import rescored_view
    from tlbench.results.rescore import rescore

    found = rescore(args.run, args.metric, discover(args), args.out)

    def plain() -> Any:
        return {"run": str(args.out or args.run), "metrics": args.metric, **found.to_json()}

    say(args, plain, partial(rescored_view, found, args.metric, args.out or args.run))
    return 2 if found.lacking else 0
