"""The site: one self-contained folder with the board, for any static host or none.

The page never computes a statistic: everything on it was computed by the leaderboard and written as data.
"""

from tlbench.site.build import Site, build
from tlbench.site.collection import build_each

__all__ = ["Site", "build", "build_each"]
