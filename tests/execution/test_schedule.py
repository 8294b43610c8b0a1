"""Parents come before their children, and what can never run is ended with its reason."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.execution.schedule import Schedule


def trial(name: str, *parents: Trial) -> Trial:
    choice = Choice("x", "x", {})
    strategy = Choice(name, name, {})
    return Trial(None, choice, choice, strategy, choice, choice, 0, parents=tuple(p.key for p in parents))


def record(of: Trial, status: Status = Status.OK, reason: str = "") -> Record:
    return Record(of.key, status, of.to_json(), reason=reason)


def name(of: Trial) -> str:
    return of.strategy.name


def test_trials_come_in_the_order_of_the_plan_and_children_right_after_their_parents() -> None:
    parent, other = trial("parent"), trial("other")
    child = trial("child", parent)
    schedule = Schedule([parent, other, child, last := trial("last")])
    first = schedule.take()
    assert first is parent
    schedule.finish(parent, record(parent))
    taken = [schedule.take() for _ in range(3)]
    assert taken == [child, other, last]


def test_a_child_waits_for_all_its_parents() -> None:
    one, two = trial("one"), trial("two")
    child = trial("child", one, two)
    schedule = Schedule([child, one, two])
    assert [schedule.take(), schedule.take()] == [one, two]
    schedule.finish(two, record(two))
    found: list[Trial | None] = []
    waiting = threading.Thread(target=lambda: found.append(schedule.take()))
    waiting.start()
    time.sleep(0.05)
    assert found == []
    schedule.finish(one, record(one))
    waiting.join(5)
    assert found == [child]


def test_a_parent_that_is_not_among_the_trials_counts_as_done() -> None:
    child = trial("child", trial("elsewhere"))
    assert Schedule([child]).take() is child


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.OK, Status.INTERRUPTED)])
def test_a_failure_ends_all_descendants_with_its_reason_and_nothing_else(status: Status) -> None:
    root = trial("root")
    child = trial("child", root)
    grandchild, sibling = trial("grandchild", child), trial("sibling", root)
    both = trial("both", grandchild, sibling)
    free = trial("free")
    schedule = Schedule([root, child, grandchild, sibling, both, free])
    assert schedule.take() is root
    lost = schedule.finish(root, record(root, status, "the disk burnt"))
    assert sorted(name(t) for t, _ in lost) == ["both", "child", "grandchild", "sibling"]
    assert all(f"ended as {status}: the disk burnt" in reason for _, reason in lost)
    assert schedule.take() is free
    assert schedule.finish(free, record(free)) == []
    assert schedule.take() is None


def test_children_of_two_failed_parents_are_ended_once() -> None:
    one, two = trial("one"), trial("two")
    child = trial("child", one, two)
    schedule = Schedule([one, two, child])
    schedule.take()
    schedule.take()
    assert [name(t) for t, _ in schedule.finish(one, record(one, Status.FAILED))] == ["child"]
    assert schedule.finish(two, record(two, Status.FAILED)) == []
    assert schedule.take() is None


def test_a_parent_that_was_only_stopped_leaves_its_children_for_the_next_run() -> None:
    parent = trial("parent")
    child = trial("child", parent)
    schedule = Schedule([parent, child, trial("grandchild", child)])
    schedule.take()
    assert schedule.finish(parent, record(parent, Status.INTERRUPTED)) == []
    assert schedule.take() is None


def test_a_closed_schedule_hands_out_nothing_and_wakes_who_waits() -> None:
    parent = trial("parent")
    schedule = Schedule([parent, trial("child", parent), trial("other")])
    schedule.take()
    schedule.take()
    found: list[Trial | None] = []
    waiting = threading.Thread(target=lambda: found.append(schedule.take()))
    waiting.start()
    schedule.close()
    waiting.join(5)
    assert found == [None]
    assert schedule.take() is None


def test_many_threads_do_every_trial_once_and_no_child_before_its_parents() -> None:
    layers: list[list[Trial]] = [[trial(f"0-{i}") for i in range(12)]]
    for depth in range(1, 5):
        below = layers[-1]
        layers.append([trial(f"{depth}-{i}", below[i], below[(i + 5) % 12]) for i in range(12)])
    trials = [t for layer in reversed(layers) for t in layer]  # the plan's order is no help
    schedule = Schedule(trials)
    done: set[str] = set()
    taken: list[str] = []
    wrong: list[str] = []
    lost: list[str] = []
    lock = threading.Lock()
    failing = layers[1][3]

    def work() -> None:
        while (mine := schedule.take()) is not None:
            with lock:
                taken.append(mine.key)
                wrong.extend(p for p in mine.parents if p not in done)
            time.sleep(0.0005)
            status = Status.FAILED if mine is failing else Status.OK
            with lock:
                if status == Status.OK:
                    done.add(mine.key)
            ended = schedule.finish(mine, record(mine, status))
            with lock:
                lost.extend(t.key for t, _ in ended)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(t.is_alive() for t in threads)
    assert wrong == []

    descendants = {failing.key}  # by the definition, layer by layer
    for layer in layers:
        descendants |= {t.key for t in layer if descendants & set(t.parents)}
    assert sorted(lost) == sorted(descendants - {failing.key})
    assert sorted(taken) == sorted({t.key for t in trials} - descendants | {failing.key})


def seeds(strategy: str, count: int, *parents: Trial) -> list[Trial]:
    return [replace(trial(strategy, *parents), seed=k) for k in reversed(range(count))]


def test_seeds_of_one_kind_are_handed_out_together_in_their_order_and_once() -> None:
    schedule = Schedule([*seeds("a", 3), *seeds("b", 1), *seeds("a", 5)[:2]])
    first = schedule.take()
    assert first is not None
    assert [(name(t), t.seed) for t in schedule.alike(first, 1)] == [("a", k) for k in range(5)]
    second = schedule.take()
    assert second is not None
    assert schedule.alike(second, 1) == [second]
    for one in [*seeds("a", 5), second]:
        schedule.finish(one, record(one))
    assert schedule.take() is None


def test_no_more_are_handed_out_than_leave_work_for_the_other_slots() -> None:
    schedule = Schedule(seeds("a", 7))
    sizes = []
    while len(schedule._ready) > len(schedule._taken) and (first := schedule.take()) is not None:
        sizes.append(len(schedule.alike(first, 2)))
    assert sizes == [4, 2, 1]
    busy = Schedule([*seeds("a", 6), *seeds("b", 6)])
    for expected in (6, 3, 2, 1):  # the other slot has b; then b is shared
        one = busy.take()
        assert one is not None
        assert len(busy.alike(one, 2)) == expected
    assert not busy._families
    many = Schedule(seeds("a", 30))
    first = many.take()
    assert first is not None
    assert len(many.alike(first, 1)) == 8


def test_children_that_become_ready_join_their_like() -> None:
    parents = seeds("parent", 2)
    children = [replace(trial("child", p), seed=p.seed) for p in parents]
    schedule = Schedule([*parents, *children])
    first = schedule.take()
    assert first is not None
    for parent in schedule.alike(first, 1):
        schedule.finish(parent, record(parent))
    child = schedule.take()
    assert child is not None
    assert sorted(t.seed for t in schedule.alike(child, 1)) == [0, 1]


def test_trials_taken_back_are_done_one_by_one() -> None:
    schedule = Schedule(seeds("a", 3))
    first = schedule.take()
    assert first is not None
    schedule.apart(schedule.alike(first, 1))
    alone = []
    for _ in range(3):
        one = schedule.take()
        assert one is not None
        assert schedule.alike(one, 1) == [one]
        alone.append(one)
        schedule.finish(one, record(one))
    assert {t.seed for t in alone} == {0, 1, 2}
    assert schedule.take() is None


def test_who_did_several_waits_until_their_ends_are_noted() -> None:
    parents = seeds("parent", 3)
    schedule = Schedule([*parents, *(replace(trial("child", p), seed=p.seed) for p in parents)])
    first = schedule.take()
    assert first is not None
    group = schedule.alike(first, 1)
    joined: list[int] = []

    def serve() -> None:
        schedule.settled(group)
        child = schedule.take()
        assert child is not None
        joined.append(len(schedule.alike(child, 1)))

    thread = threading.Thread(target=serve)
    thread.start()
    for parent in group:
        time.sleep(0.02)
        schedule.finish(parent, record(parent))
    thread.join(5.0)
    assert joined == [3]
