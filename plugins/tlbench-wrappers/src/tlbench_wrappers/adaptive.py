"""adaptive: the strategy or the pre-trained weights that do best on validation examples or by a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tlbench import Backbone, Strategy  # noqa: TC001  (the types of parameters are read at run time)
from tlbench.transferability import SCORES, Evidence
from tlbench_wrappers.around import needs_of, spaces_of, start_of, target_of, uses_of

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class Adaptive:
    """The best of several strategies, and of several backbones, for each pair (Wei et al. 2018 learn the choice).

    ``validation``: each candidate trains on the target less ``hold_out`` and is scored on the rest; the best one is
    then trained on everything, with the trial's own budget. Its cost is that of all of them.
    A transferability score chooses among backbones without training: its features of the labelled target decide.
    Backbones must see images in the same way as the trial's own, which is always a candidate.
    What was chosen is in the record: ``chosen_strategy`` and ``chosen_backbone``, from 0, the trial's own first.
    """

    name: ClassVar[str] = "adaptive"

    of: tuple[Strategy, ...]
    """The strategies to choose from; the first one is used where a score chooses the backbone."""
    backbones: tuple[Backbone, ...] = ()
    """Backbones to choose from, beside the trial's own."""
    by: Literal["validation", "logme", "h-score", "h-score-shrunk", "parc", "knn"] = "validation"
    """What chooses: validation examples, or a transferability score of the target's features."""
    hold_out: float = 0.3
    """Share of the labelled target examples that decides, where the selection rule has set none apart."""

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("of must name at least one strategy")
        if not 0 < self.hold_out < 1:
            raise ValueError(f"hold_out must be in (0, 1), got {self.hold_out}")
        if self.by != "validation" and len(self.of) > 1:
            raise ValueError(f"by: {self.by} scores features, not strategies; give one strategy in of")

    @property
    def needs(self) -> frozenset[str]:
        return needs_of(*self.of) | {"target"}

    @property
    def uses(self) -> frozenset[str]:
        return uses_of(*self.of) | {"target_val"}

    @property
    def start(self) -> Any:
        return start_of(self.of)

    @property
    def spaces(self) -> str:
        return spaces_of(*self.of)

    def fit(self, ctx: Context) -> Fitted:
        bodies: tuple[Backbone | None, ...] = (None, *self.backbones)
        values = {
            (s, b): self._value(ctx, strategy, body)
            for s, strategy in enumerate(self.of)
            for b, body in enumerate(bodies)
        }
        best = max(values, key=lambda at: (values[at], -at[1], -at[0]))
        ctx.report("chosen_strategy", best[0])
        ctx.report("chosen_backbone", best[1])
        ctx.report("chosen_by", values[best])
        chosen = bodies[best[1]]
        fitted: Fitted = self.of[best[0]].fit(ctx if chosen is None else ctx.using(chosen))
        return fitted

    def _value(self, ctx: Context, strategy: Strategy, body: Backbone | None) -> float:
        """How good a candidate looks; larger is better."""
        if self.by != "validation":
            target = (ctx if body is None else ctx.using(body)).features("target")
            return SCORES[self.by](Evidence(target.x.cpu().numpy(), target.y.cpu().numpy()))
        branch = ctx.using(body, hold_out=self.hold_out, start=None if body is None else "weights")
        return branch.score(target_of(strategy.fit(branch)), "target_val")
