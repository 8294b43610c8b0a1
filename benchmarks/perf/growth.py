"""The page of how things grow, results/perf/scaling.md: each benchmark writes its own section and leaves the others."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "results" / "perf" / "scaling.md"
SECTIONS = ("Plan and board", "Data", "Workers")


def into_page(section: str, text: str, page: Path = PAGE) -> None:
    """Put a section's text in the place of what was there."""
    kept = dict.fromkeys(SECTIONS, "")
    if page.exists():
        for part in page.read_text().split("\n## ")[1:]:
            name, _, its = part.partition("\n")
            kept[name] = its.strip()
    if section not in kept:
        raise ValueError(f"{section!r} is none of {', '.join(SECTIONS)}")
    kept[section] = text.strip()
    said = [f"## {name}\n\n{its}\n" for name, its in kept.items() if its]
    page.write_text("\n".join(["# How plan, board, data and workers grow\n", *said]))
