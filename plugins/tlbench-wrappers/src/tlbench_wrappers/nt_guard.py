"""nt-guard: transfer or not, decided on validation examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tlbench import Strategy  # noqa: TC001  (the types of parameters are read at run time)
from tlbench.functional import supervised
from tlbench_wrappers.around import needs_of, spaces_of, start_of, target_of, uses_of

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class NTGuard:
    """The strategy inside where it beats training from scratch on validation examples, and scratch where not.

    Negative transfer comes from sources that are too far (Rosenstein et al. 2005); whether this one is can be asked of
    the target's own labels. Both candidates train on the target less ``hold_out`` (or on what the selection rule
    leaves) and are scored on the rest; the winner is then trained on everything, with the trial's own budget. What was
    decided is in the record (``transferred``, ``validation_gain``), and the cost of deciding in its steps and seconds.
    The guard errs as often as so few validation examples do: the price of caution is a share of the gains.
    """

    name: ClassVar[str] = "nt-guard"

    of: Strategy
    """The strategy inside: the transfer to be decided on."""
    hold_out: float = 0.3
    """Share of the labelled target examples that decides, where the selection rule has set none apart."""
    margin: float = 0.0
    """By how much transfer must be better on validation to be chosen."""

    def __post_init__(self) -> None:
        if not 0 < self.hold_out < 1:
            raise ValueError(f"hold_out must be in (0, 1), got {self.hold_out}")

    @property
    def needs(self) -> frozenset[str]:
        return needs_of(self.of) | {"target"}

    @property
    def uses(self) -> frozenset[str]:
        return uses_of(self.of) | {"target_val"}

    @property
    def start(self) -> Any:
        return start_of([self.of])

    @property
    def spaces(self) -> str:
        return spaces_of(self.of)

    def fit(self, ctx: Context) -> Fitted:
        branch = ctx.using(hold_out=self.hold_out)
        transferred = branch.score(target_of(self.of.fit(branch)), "target_val")
        branch = ctx.using(hold_out=self.hold_out, start="random")
        alone = branch.score(_scratch(branch), "target_val")
        gain = transferred - alone
        ctx.report("validation_gain", gain)
        ctx.report("transferred", float(gain >= self.margin))
        fitted: Fitted = self.of.fit(ctx) if gain >= self.margin else _scratch(ctx)
        return fitted


def _scratch(ctx: Context) -> Any:
    """The same backbone from random weights, on the target alone."""
    model = ctx.classifier("random")
    ctx.train(supervised(model), update=model)
    return model.eval()
