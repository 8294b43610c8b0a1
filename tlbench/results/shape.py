"""Shape: what a record of this version looks like, type by type, for records that come from strangers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.types import AllowInfNan, Strict

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(max_length=1_000)]
Number = Annotated[float, AllowInfNan(False)]
Seconds = Annotated[float, AllowInfNan(False), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=0)]
_MOST_ERRORS = 3


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ChoiceShape(_Shape):
    name: Name
    label: Name
    params: dict[Name, Any]
    version: Name = ""


class TrialShape(_Shape):
    kind: Literal["trial", "source-model", "ranking"]
    source: ChoiceShape | None
    target: ChoiceShape
    task: ChoiceShape
    strategy: ChoiceShape
    backbone: ChoiceShape
    recipe: ChoiceShape
    seed: Count
    parents: list[Key]
    reference: Name | None
    skip: str | None
    fingerprint: Name


class CurveShape(_Shape):
    pool: Name
    metric: Name
    examples: Count
    steps: list[Count] = Field(min_length=1)
    scores: list[Number]
    seconds: list[Seconds]
    validation: list[Number] | None = None
    selected: Count | None = None
    budget: Count | None = None
    points: list[Count] | None = None


class FileShape(_Shape):
    blake2b: Key
    bytes: Count
    file: Name = ""


class PredictionsShape(_Shape):
    blake2b: Key
    bytes: Count
    matching: Literal["labels", "clusters"] = "labels"
    harmonic: bool = False


class _Open(BaseModel):
    """Some fields are stated, and others may be there."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class DataShape(_Open):
    pools: dict[Name, Any] | None = None
    target: dict[Name, Any] | None = None
    source: dict[Name, Any] | None = None
    test: dict[Name, Count] | None = None
    episodes: dict[Name, Any] | None = None
    reported: dict[Name, Any] | None = None
    groups: dict[Name, Any] | None = None
    similarity: dict[Name, Any] | None = None
    absent: dict[Name, str] | None = None


class DeviceShape(_Open):
    device: Name = ""
    name: Name | None = None
    fingerprint: Name | None = None
    threads: Count | None = None


class EnvironmentShape(_Open):
    versions: dict[Name, Name | None] | None = None
    git: dict[Name, Name | bool | None] | None = None
    device: DeviceShape | Name | None = None
    host: Name | None = None
    system: Name | None = None


class RecordShape(_Shape):
    key: Key
    status: Literal["ok", "skipped", "failed", "oom", "timeout", "killed", "parent_failed", "interrupted"]
    trial: TrialShape
    suite: Name = ""
    reason: Annotated[str, Field(max_length=100_000)] = ""
    metrics: dict[Name, dict[Name, Number]] = {}
    curve: CurveShape | None = None
    losses: dict[Name, list[Number | None]] | None = None
    clocks: dict[Name, Seconds] = {}
    throughput: dict[Name, dict[Name, Number | None] | None] | None = None
    memory: dict[Name, Count | None] = {}
    cost: dict[Name, Any] = {}
    data: DataShape = DataShape()
    seeds: dict[Name, int] = {}
    environment: EnvironmentShape = EnvironmentShape()
    artifact: FileShape | None = None
    predictions: PredictionsShape | None = None
    started: Name = ""
    finished: Name = ""
    resumed_from: Count = 0
    provenance: dict[Name, Any] | None = None
    version: Count = 1


def misshapen(data: Any) -> str:
    """What is wrong with a record's plain data, in a line; empty where it has the shape of a record."""
    return _faults(RecordShape, data)


def misshapen_trial(data: Any) -> str:
    """The same for a trial of a plan."""
    return _faults(TrialShape, data)


def _faults(shape: type[BaseModel], data: Any) -> str:
    try:
        shape.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        said = [f"{'.'.join(map(str, e['loc']))[:120] or 'it'}: {e['msg']}" for e in found[:_MOST_ERRORS]]
        more = f"; and {len(found) - _MOST_ERRORS} more" if len(found) > _MOST_ERRORS else ""
        return "; ".join(said) + more
    return ""
