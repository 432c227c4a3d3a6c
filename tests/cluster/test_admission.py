"""The order of the admission queue."""

import uuid
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from netstacks.cluster.admission import Place, Queue, Standing

ANA, BEN = UUID(int=1), UUID(int=2)


def served(queue: Queue) -> list[Place]:
    places = []
    while (place := queue.first()) is not None:
        queue.leave(place)
        places.append(place)
    return places


def test_the_client_that_has_waited_longest_comes_first_wherever_that_was() -> None:
    queue = Queue()
    late, early = queue.enter(ANA, 20.0, None), queue.enter(BEN, 10.0, None)
    assert served(queue) == [early, late]


def test_sessions_in_use_come_before_attached_ones_and_these_before_detached_ones() -> None:
    queue = Queue()
    places = {standing: queue.enter(uuid.uuid4(), 10.0 - standing, uuid.uuid4()) for standing in reversed(Standing)}
    for standing, place in places.items():
        queue.rank(place, standing)
    assert served(queue) == [places[Standing.IN_USE], places[Standing.ATTACHED], places[Standing.DETACHED]]


def test_an_unknown_client_ranks_as_attached() -> None:
    queue = Queue()
    detached, new = queue.enter(ANA, 1.0, uuid.uuid4()), queue.enter(BEN, 2.0, None)
    queue.rank(detached, Standing.DETACHED)
    assert served(queue) == [new, detached]


def test_a_users_tenth_terminal_waits_for_everybodys_first() -> None:
    queue = Queue()
    of_ana = [queue.enter(ANA, float(number), uuid.uuid4()) for number in range(10)]
    of_ben = queue.enter(BEN, 100.0, uuid.uuid4())
    queue.rank(of_ben, Standing.DETACHED)
    assert served(queue) == [*of_ana[:9], of_ben, of_ana[9]]


def test_users_of_many_terminals_take_turns() -> None:
    queue = Queue()
    of_ana = [queue.enter(ANA, 1.0, None) for _ in range(3)]
    of_ben = [queue.enter(BEN, 2.0, None) for _ in range(3)]
    assert served(queue) == [of_ana[0], of_ben[0], of_ana[1], of_ben[1], of_ana[2], of_ben[2]]


def test_a_terminal_that_was_served_counts_until_the_queue_is_empty() -> None:
    queue = Queue()
    queue.enter(BEN, 1.0, None)
    for _ in range(9):
        queue.leave(queue.enter(ANA, 1.0, None))
    assert queue.enter(ANA, 1.0, None).rank == 9
    served(queue)
    assert queue.enter(ANA, 1.0, None).rank == 0


def test_a_client_that_has_left_is_neither_served_nor_counted() -> None:
    queue = Queue()
    gone, waiting = queue.enter(ANA, 1.0, None), queue.enter(BEN, 2.0, None)
    queue.leave(gone)
    queue.leave(gone)
    queue.rank(gone, Standing.IN_USE)
    assert (len(queue), queue.in_order(), queue.first()) == (1, [waiting], waiting)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.sampled_from(Standing), st.booleans())))
def test_the_order_that_is_told_is_the_order_of_service(
    entries: list[tuple[int, int, Standing, bool]],
) -> None:
    queue = Queue()
    for user, since, standing, leaves in entries:
        place = queue.enter(UUID(int=user), float(since), uuid.uuid4())
        queue.rank(place, standing)
        if leaves:
            queue.leave(place)
    told = queue.in_order()
    assert len(told) == len(queue)
    assert served(queue) == told
    assert [place.key for place in told] == sorted(place.key for place in told)


def test_a_client_that_comes_again_has_the_same_place_and_does_not_count_as_another_terminal() -> None:
    queue = Queue()
    first = queue.enter(ANA, 1.0, None)
    queue.rank(first, Standing.IN_USE)
    others = [queue.enter(uuid.uuid4(), 2.0, None) for _ in range(3)]
    queue.leave(first)
    again = queue.enter(ANA, 50.0, None, former=first)
    assert served(queue) == [again, *others]
    assert again.rank == 0


def test_the_places_of_a_user_are_counted_while_they_wait() -> None:
    queue = Queue()
    places = [queue.enter(ANA, 1.0, None) for _ in range(3)]
    queue.leave(places[0])
    assert (queue.waiting_of(ANA), queue.waiting_of(BEN)) == (2, 0)


def test_a_place_names_its_user_and_token_also_when_it_is_taken_again() -> None:
    queue, token = Queue(), uuid.uuid4()
    place = queue.enter(ANA, 1.0, token)
    queue.leave(place)
    again = queue.enter(ANA, 2.0, token, place)
    assert [(each.user_id, each.token) for each in (place, again)] == [(ANA, token)] * 2
    assert queue.waiting_of(ANA) == 1
