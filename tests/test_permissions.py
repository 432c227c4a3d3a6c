"""Permissions and wildcards, and the devices that a role reaches."""

from hypothesis import given
from hypothesis import strategies as st

from netstacks.permissions import ALL, EVERYWHERE, Reach, Role, expanded, is_granted, preset

RESOURCES, ACTIONS = ("devices", "device", "sessions", "users"), ("view", "manage", "access")
names = st.builds(lambda resource, action: f"{resource}.{action}", st.sampled_from(RESOURCES), st.sampled_from(ACTIONS))
wildcards = st.sampled_from(RESOURCES).map(lambda resource: f"{resource}.*")
held = st.frozensets(names | wildcards | st.just(ALL))
texts = st.frozensets(st.sampled_from(["core", "edge", "Bonn", "Berlin"]), max_size=3)
reaches = st.builds(Reach, texts, texts)
roles = st.builds(Role, st.just("noc"), held, reaches)


@given(names, held)
def test_a_permission_is_granted_by_name_by_its_resource_and_by_everything(
    name: str, permissions: frozenset[str]
) -> None:
    resource = name.split(".")[0]
    wanted = any(each in (name, ALL) or each.split(".") == [resource, "*"] for each in permissions)
    assert is_granted(name, permissions) == wanted


@given(roles, roles, names)
def test_who_covers_a_role_has_each_of_its_permissions(mine: Role, theirs: Role, name: str) -> None:
    if mine.covers(theirs) and theirs.may(name):
        assert mine.may(name)


@given(roles, roles, texts, st.none() | st.sampled_from(["Bonn", "Berlin", "core"]))
def test_who_covers_a_role_reaches_each_of_its_devices(
    mine: Role, theirs: Role, tags: frozenset[str], site: str | None
) -> None:
    if mine.covers(theirs) and theirs.reach.includes(tags, site):
        assert mine.reach.includes(tags, site)


@given(roles, roles, roles)
def test_covering_is_an_order(one: Role, two: Role, three: Role) -> None:
    assert one.covers(one)
    if one.covers(two) and two.covers(three):
        assert one.covers(three)


@given(held)
def test_a_client_that_knows_names_only_sees_what_wildcards_grant(permissions: frozenset[str]) -> None:
    known = [f"{resource}.{action}" for resource in RESOURCES for action in ACTIONS]
    sent = expanded(permissions, known)
    if ALL in permissions:
        assert sent == [ALL]
    else:
        assert {each for each in known if is_granted(each, permissions)} == set(sent) & set(known)


def test_the_names_of_the_product_are_sent_beside_ours() -> None:
    assert expanded({"audit.view"}, ["audit.view"]) == ["admin.audit", "audit.view"]
    assert expanded({"audit.*"}, ["audit.view"]) == ["admin.audit", "audit.*", "audit.view"]
    assert expanded({"devices.access"}, ["audit.view"]) == ["devices.access"]


def test_only_everything_everywhere_makes_an_administrator() -> None:
    assert preset("admin").is_administrator
    assert not preset("operator").is_administrator
    assert not Role("local", frozenset({ALL}), Reach(sites=frozenset({"Bonn"}))).is_administrator


def test_a_role_that_this_version_does_not_know_permits_nothing() -> None:
    assert preset("noc") == Role("noc", frozenset(), EVERYWHERE)
    assert not preset("noc").may("devices.access")
