"""CycleGAN: repaint the labelled source in the style of the target, and train the classifier on that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import Group, SkipTrial, TrialError, Turn
from tlbench.functional import supervised
from tlbench_adaptation.kept import Kept
from tlbench_adaptation.translation import Generator, History, Pixels, patch_critic

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def least_squares(verdict: Tensor, truth: float) -> Tensor:
    """Mean of (D(x) - truth)^2, the adversarial loss in the place of the logarithm (Zhu et al. 2017, sec. 4)."""
    return (verdict - truth).square().mean()


def cycle_loss(there_and_back: Tensor, start: Tensor) -> Tensor:
    """Mean of |F(G(x)) - x| over all values of the images (Zhu et al. 2017, eq. 2)."""
    return (there_and_back - start).abs().mean()


@dataclass(frozen=True)
class CycleGAN:
    """Unpaired image translation (Zhu et al. 2017, eq. 1 to 3), then supervised training on the translated source.

    The game has a budget of its own (``rounds``), so the classifier keeps the whole one of the recipe; its rounds
    count as steps and seconds of the trial. G paints source images like the target's, F the other way; each has
    to fool a patch critic, to be undone by the other, and to leave images of its own target domain alone.
    What can go wrong: nothing ties labels to images, so an 8 may become a 3; ``semantic`` adds the remedy of
    CyCADA (Hoffman et al. 2018, eq. 4, on the source side). And an augmentation that flips digits makes G paint
    flipped digits: use none, or crops.
    Departures: a compact generator and critic for images of 16 to 64 pixels; the recipe's batch size, optimiser
    and schedule in the place of batches of one, Adam with beta_1 0.5 and a linear decline.
    """

    name: ClassVar[str] = "cyclegan"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    rounds: int = 1000
    """Rounds of the game between generators and critics, before the classifier is trained."""
    cycle: float = 10.0
    """Weight of the cycle loss beside the adversarial one."""
    identity: float = 0.5
    """Weight of the identity loss, in units of ``cycle``."""
    semantic: float = 0.0
    """Weight of the cross-entropy of a classifier of the source, on translated images and their labels."""
    lr: float = 0.2
    """Multiplies the recipe's learning rate in the game; 0.2 of the default 0.001 is the paper's 0.0002."""
    width: int = 16
    """Channels of the generators' first layer; the critics have twice as many."""
    blocks: int = 3
    """Residual blocks of a generator."""
    history: int = 50
    """Generated images that are kept to be shown to the critics again."""

    def __post_init__(self) -> None:
        for name in ("cycle", "identity", "semantic", "blocks", "history"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("rounds", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        shapes = {ctx.shape(pool) for pool in ("source", "target_unlabelled")}
        if any(shape.kind != "image" for shape in shapes):
            found = " and ".join(sorted(f"{shape.kind} of shape {list(shape.dims)}" for shape in shapes))
            raise SkipTrial(f"cyclegan translates images; the examples here are {found}")
        if len(shapes) > 1:
            raise TrialError("cyclegan needs images of one shape in both domains; choose a backbone that resizes them")
        model = ctx.classifier()
        pixels = Pixels.of(model.backbone.transform, ctx.device)
        paint = self.translator(ctx, shapes.pop().dims, pixels)

        def loss(source: Batch, step: Step) -> Terms:
            with torch.no_grad():
                painted = pixels.to_input(paint(pixels.from_input(source.x)))
            return F.cross_entropy(model(painted), source.y)

        ctx.train(loss, update=model, on=("source",))
        fitted: Fitted = model
        return fitted

    def translator(self, ctx: Context, dims: tuple[int, ...], pixels: Pixels) -> nn.Module:
        """G, trained in a branch of the trial: source images to target style, pixels in [-1, 1]."""
        judge = self._source_judge(ctx) if self.semantic else None
        g, f = (Generator(dims[0], self.width, self.blocks) for _ in range(2))
        critic_t, critic_s = (patch_critic(dims[0], 2 * self.width) for _ in range(2))
        old_t, old_s = History(self.history, dims), History(self.history, dims)
        painted = Kept()  # this round's images, for the critics' turn
        branch = ctx.using(steps=self.rounds)

        def generate(source: Batch, target: Batch, step: Step) -> Terms:
            s, t = pixels.from_input(source.x), pixels.from_input(target.x)
            like_t, like_s = g(s), f(t)
            painted.keep(like_t, like_s)
            terms = {
                "adversarial": least_squares(critic_t(like_t), 1) + least_squares(critic_s(like_s), 1),
                "cycle": self.cycle * (cycle_loss(f(like_t), s) + cycle_loss(g(like_s), t)),
                "identity": self.cycle * self.identity * (cycle_loss(g(t), t) + cycle_loss(f(s), s)),
            }
            if judge is not None:
                terms["semantic"] = self.semantic * F.cross_entropy(judge(pixels.to_input(like_t)), source.y)
            return terms

        def tell_apart(source: Batch, target: Batch, step: Step) -> Terms:
            like_t, like_s = painted.kept
            new_t, new_s = len(like_t), len(like_s)

            def plans(now: Step) -> dict[str, dict[str, Tensor]]:
                return {
                    "t": old_t.plan(new_t, now.index * new_t, branch.rng),
                    "s": old_s.plan(new_s, now.index * new_s, branch.rng),
                }

            plan = step.host(plans)
            shown_t, shown_s = old_t.exchange(like_t, plan["t"]), old_s.exchange(like_s, plan["s"])
            s, t = pixels.from_input(source.x), pixels.from_input(target.x)
            return {
                "critic of the target": (least_squares(critic_t(t), 1) + least_squares(critic_t(shown_t), 0)) / 2,
                "critic of the source": (least_squares(critic_s(s), 1) + least_squares(critic_s(shown_s), 0)) / 2,
            }

        pools = ("source", "target_unlabelled")
        branch.take_turns(
            Turn(generate, Group([g, f], lr=self.lr, weight_decay=0.0), pools),
            Turn(tell_apart, Group([critic_t, critic_s, old_t, old_s], lr=self.lr, weight_decay=0.0), pools),
        )
        return g.requires_grad_(False).eval()

    def _source_judge(self, ctx: Context) -> nn.Module:
        """A classifier trained on the source as it is, then frozen: what says whether a label survived."""
        judge: nn.Module = ctx.classifier()
        ctx.using(steps=self.rounds).train(supervised(judge), update=judge, on=("source",))
        return judge.requires_grad_(False).eval()
