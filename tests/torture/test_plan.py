"""The fault plans: the same for the same seed, never against all instances at once, and with every kind of fault."""

from collections import Counter

import pytest

from netstacks.store.connections import IDLE_IN_TRANSACTION_SECS
from tests.acceptance.cluster import TTL_SECS
from tests.controller import ROOT
from tests.torture import planted
from tests.torture.plan import (
    CROWD,
    CUT_OFF_POSTGRES,
    CUT_OFF_VALKEY,
    FREEZE_IN_TRANSACTION,
    HIDE,
    INSTANCES,
    LONG_DETACH_TTL_SECS,
    OF_POSTGRES,
    SHORT_DETACH_TTL_SECS,
    Action,
    detach_ttl_secs,
    has_standing_crowd,
    of_instances,
    plan,
)
from tests.torture.stores import GuardedValkey, LoneValkey


def made(seed: int, secs: float) -> list[Action]:
    store = GuardedValkey if seed % 2 else LoneValkey
    return plan(seed, secs, of_instances(detach_ttl_secs(seed), 10), store.kinds)


@pytest.mark.parametrize("seed", range(40))
def test_one_instance_is_always_left_in_peace_and_nothing_outlasts_the_end(seed: int) -> None:
    actions = made(seed, 120)
    assert actions == made(seed, 120)
    assert all(each.at + each.lasts <= 120.1 for each in actions)
    for action in actions:
        hurt = [each.target for each in actions if each.at <= action.at <= each.at + each.lasts]
        assert len(hurt) == len(set(hurt))
        assert len(set(hurt) & set(INSTANCES)) < len(INSTANCES)


def test_every_kind_of_fault_is_met_in_a_few_minutes() -> None:
    for seed in range(4):
        kinds = Counter((each.target in INSTANCES, each.kind) for each in made(seed, 300))
        assert {kind for hurts_instance, kind in kinds if hurts_instance} == {*of_instances(8, 10)}
        assert {kind for _, kind in kinds} >= {*OF_POSTGRES, CROWD, HIDE, CUT_OFF_VALKEY, CUT_OFF_POSTGRES}


def test_half_of_the_seeds_of_each_store_have_sessions_that_hardly_wait() -> None:
    assert Counter((seed % 2, detach_ttl_secs(seed)) for seed in range(100)) == {
        (store, secs): 25 for store in (0, 1) for secs in (SHORT_DETACH_TTL_SECS, LONG_DETACH_TTL_SECS)
    }


def test_half_of_the_seeds_of_each_store_and_patience_have_a_standing_crowd() -> None:
    assert Counter((seed % 2, detach_ttl_secs(seed), has_standing_crowd(seed)) for seed in range(80)) == {
        (store, secs, has_crowd): 10
        for store in (0, 1)
        for secs in (SHORT_DETACH_TTL_SECS, LONG_DETACH_TTL_SECS)
        for has_crowd in (False, True)
    }


def test_the_seeds_of_the_planted_bugs_have_what_reveals_them() -> None:
    plans = {seed: made(seed, planted.SECONDS) for seed in planted.SEEDS}
    for kind, secs, detach_ttls in [
        (CUT_OFF_VALKEY, TTL_SECS + SHORT_DETACH_TTL_SECS, {SHORT_DETACH_TTL_SECS}),
        (FREEZE_IN_TRANSACTION, IDLE_IN_TRANSACTION_SECS + 4, {SHORT_DETACH_TTL_SECS, LONG_DETACH_TTL_SECS}),
    ]:
        fit = [
            seed
            for seed, actions in plans.items()
            if detach_ttl_secs(seed) in detach_ttls and any(each.kind == kind and each.lasts > secs for each in actions)
        ]
        assert len(fit) >= 2, kind


@pytest.mark.parametrize(
    ("name", "edit"), [(name, edit) for name, edits in planted.BUGS.items() for edit in edits], ids=lambda each: ""
)
def test_a_bug_can_still_be_planted(name: str, edit: planted.Edit) -> None:
    """When the product has changed there, the bug is to be planted anew."""
    assert (ROOT / edit.path).read_text().count(edit.old) == 1, f"{name}: {edit.path}"
