"""The same work by tlbench, by a plain driver, by pytorch-adapt and by skada, side by side: one command for all of it.

    python3.11 benchmarks/peers/run.py [--seeds 3] [--data ../shared/data/hub] [--venv .venv-peers] [--only probes]

The first call makes an environment of its own (`requirements.txt`, tlbench and two of its plugins from this checkout)
and goes on in it. The tables go to `results/perf/peers.md`, after each part anew. A side that fails leaves its error
there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLUGINS = ("tlbench-adaptation", "tlbench-subspaces")


def environment(folder: Path) -> Path:
    """The interpreter of the peers' environment, which is made where it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", str(HERE / "requirements.txt")], check=True)
        own = [word for path in (ROOT, *(ROOT / "plugins" / name for name in PLUGINS)) for word in ("-e", str(path))]
        subprocess.run([*install, "--no-deps", *own], check=True)
        (folder / "ready").touch()
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "hub")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--only", nargs="*", default=["probes", "shallow", "mnist-usps", "matrix"])
    args = parser.parse_args()
    python = environment(args.venv.absolute())
    words = [str(args.seeds), str(args.data.absolute()), *args.only]
    os.execv(python, [str(python), str(HERE / "side_by_side.py"), *words])


if __name__ == "__main__":
    main()
