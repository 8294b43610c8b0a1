"""Graphs: a step that does the same each time is captured once and replayed, without running its Python.

The first steps are the plain ones, observed; where they turn out to be alike the next is captured as a CUDA graph, and
every further one is a replay: the same kernels on the same memory, hence the same bits. Where a step cannot be captured
the plain steps go on, and the reason is said once. What cannot be seen is a loss that reads the clock, or one that
changes after the observed steps without keeping anything where it can be found; so graphs are only used when asked for.

What the host works out anew for each step, a loss asks for with ``step.host``; before a replay it is made and sent.
The learning rate stands in a tensor, which a replay reads anew. torch's fused kernels take a rate from a tensor as
float32, from a number as float64: on a GPU the loop rounds rates to float32 either way.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from tlbench.training.batches import changed, fill
from tlbench.training.compiling import is_compiled
from tlbench.training.hosted import Hosted, ServedStep
from tlbench.training.observe import Observer, WatchedStep
from tlbench.training.optim import groups_of, modules_of
from tlbench.training.steady import Unclear, memory_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlbench.api.types import Step
    from tlbench.training.moves import Move

OBSERVED = 4
"""Plain steps before a capture; the first, in which optimisers set themselves up, is not compared with the others."""


class Capture(Protocol):
    """Takes work down without doing it."""

    def warming(self) -> AbstractContextManager[None]:
        """What the steps before a capture run in."""

    def __call__(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Mapping[str, Tensor], Callable[[], None]]:
        """What the work gives, in memory that stays where it is, and what does the work and fills it in."""


@dataclass(eq=False)
class CudaCapture:
    """Capture as a CUDA graph, on a stream of its own, which the steps before run on as well."""

    device: torch.device

    def __post_init__(self) -> None:
        with torch.cuda.device(self.device):
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @contextmanager
    def warming(self) -> Iterator[None]:
        with torch.cuda.device(self.device):
            outside = torch.cuda.current_stream()
            self._stream.wait_stream(outside)
            with torch.cuda.stream(self._stream):
                yield
            outside.wait_stream(self._stream)

    def __call__(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Mapping[str, Tensor], Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self._stream):
            terms = work()
        return terms, graph.replay


@dataclass(eq=False)
class Graphs:
    """How the steps of one trial are captured; ``said`` are the reasons that were given for not doing so."""

    capture: Callable[[torch.device], Capture] = CudaCapture
    say: Callable[[str], None] = print
    said: set[str] = field(default_factory=set)
    replayed: int = 0

    def over(self, move: Move, device: torch.device) -> Move | Replaying:
        """The same move, replayed where it can be."""
        if is_compiled([m for group in groups_of(move.turn.update) for m in modules_of(group)]):
            self.refuse("its network is compiled")
            return move
        for optimizer in move.optimizers:
            in_tensors(optimizer, device)
        return Replaying(move, device, self.capture(device), self)

    def refuse(self, reason: str) -> None:
        if reason not in self.said:
            self.said.add(reason)
            self.say(f"steps run one by one and not as a CUDA graph: {reason}")


class Replaying:
    """A move that is plain at first, and then replayed."""

    def __init__(self, move: Move, device: torch.device, capture: Capture, graphs: Graphs) -> None:
        self._move, self._device, self._capture, self._graphs = move, device, capture, graphs
        self._inputs: Sequence[Any] = ()
        self._hosted = Hosted(device, lambda: memory_of(move.turn.loss))
        self._seen: list[list[Any]] = []
        self._memory: dict[str, Any] = {}
        self._terms: Mapping[str, Tensor] = {}
        self._replay: Callable[[], None] | None = None
        self._plain = False

    def __call__(self, given: Sequence[Any], step: Step) -> Mapping[str, Tensor]:
        if self._plain:
            return self._move(given, step)
        if not self._inputs:
            self._inputs = [changed(batch, Tensor.clone) for batch in given]
        elif not fill(self._inputs, given):
            self._give_up("its batches differ in shape")
            return self._move(given, step)
        if self._replay is None:
            return self._observed(step)
        made = self._hosted.made(step)
        if not self._hosted.filled(made):
            self._give_up("what the host makes differs in shape")
            return self._move(given, ServedStep(step.index, step.total, made))
        self._replay()
        self._graphs.replayed += 1
        return {name: term.clone() for name, term in self._terms.items()}

    def _observed(self, step: Step) -> Mapping[str, Tensor]:
        hosted = self._hosted
        hosted.begin()
        with self._capture.warming(), Observer(self._device) as seen:

            def ask(make: Callable[[Step], Any], now: Step) -> Any:
                with seen.paused():
                    return hosted.ask(make, now)

            watched = WatchedStep(step.index, step.total, ask)
            terms = self._move(self._inputs, watched)
        hosted.end()
        self._seen.append(seen.ops)
        reason = "it depends on where the training stands" if watched.was_read else seen.refusal or hosted.refusal
        try:
            memory = memory_of(self._move.turn.loss) if not reason else {}
            if not reason and len(self._seen) > 1:
                reason = why_not_steady(self._seen[1:], [self._memory, *hosted.marks, memory])
            self._memory = memory
        except Unclear as unclear:
            reason = str(unclear)
        if reason:
            self._give_up(reason)
        elif len(self._seen) == OBSERVED:
            self._take(step)
        return terms

    def _take(self, step: Step) -> None:
        self._seen.clear()
        self._hosted.begin(capturing=True)
        captured = WatchedStep(step.index, step.total, self._hosted.ask)
        try:
            self._terms, self._replay = self._capture(lambda: self._move(self._inputs, captured))
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            self._give_up(f"torch could not capture it: {type(error).__name__}: {first}")

    def _give_up(self, reason: str) -> None:
        self._plain, self._replay, self._terms, self._inputs = True, None, {}, ()
        self._seen.clear()
        self._graphs.refuse(reason)


def why_not_steady(seen: Sequence[list[Any]], looks: Sequence[Mapping[str, Any]]) -> str:
    """What the last of these steps did otherwise than the one before it; empty where it did the same.

    ``looks`` are what the loss kept: after the step before, before and after each making of the host, after the step.
    """
    for before, after in zip(looks[::2], looks[1::2], strict=True):
        for path in sorted({*before} | {*after}):
            if before.get(path) != after.get(path):
                return f"it keeps something from step to step ({path})"
    if len(seen) < 2 or seen[-2] == seen[-1]:
        return ""
    if len(seen[-2]) != len(seen[-1]):
        return "it does another number of things from step to step"
    other = next(b for a, b in zip(seen[-2], seen[-1], strict=True) if a != b)
    return f"it does something else from step to step ({other[0]})"


def in_tensors(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Put an optimiser's rates into tensors on the device, which a replay reads anew."""
    for group in optimizer.param_groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group and device.type == "cuda":
            group["capturable"] = True
