import pytest

from netstacks.cluster.clocks import in_words, is_alarming


@pytest.mark.parametrize(
    ("skew_secs", "was_alarming", "alarming"),
    [
        (0.0, False, False),
        (4.9, False, False),
        (5.0, False, True),
        (-5.0, False, True),
        (4.5, True, True),
        (-4.5, True, True),
        (3.9, True, False),
    ],
)
def test_the_alarm_does_not_flutter(skew_secs: float, was_alarming: bool, alarming: bool) -> None:
    assert is_alarming(skew_secs, was_alarming=was_alarming) == alarming


def test_a_difference_is_told_with_its_direction() -> None:
    assert (in_words(40.04), in_words(-1.52)) == ("40 s ahead", "1.5 s behind")
    assert (in_words(0.5), in_words(0.0)) == ("0.5 s ahead", "0 s ahead")


def test_a_first_measurement_alarms_at_the_higher_limit() -> None:
    assert not is_alarming(4.5)
    assert is_alarming(5.0)
