import pytest

from gnnpot.errors import ConfigError
from gnnpot.training.schedule import Budget, Schedule, seconds_of

COSINE = Schedule("cosine", warm_up=0.1, final=0.01, factor=0.5, patience=5)
PLATEAU = Schedule("plateau", warm_up=0.0, final=0.01, factor=0.5, patience=5)


@pytest.mark.parametrize(("text", "seconds"), [("00:00:02:30", 150.0), ("1:00:00:01", 86401.0), ("00:00:00:0.5", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["15", "2:30", 2160000, "a:b:c:d", None])
def test_other_durations_are_refused_with_the_right_form(text: object) -> None:
    with pytest.raises(ConfigError, match="00:00:15:00"):
        seconds_of(text)


def test_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time"):
        seconds_of("00:00:00:00")


def test_progress_is_the_larger_share() -> None:
    budget = Budget(max_epochs=10, max_seconds=100.0)
    assert budget.progress(2.0, 50.0) == 0.5
    assert budget.progress(8.0, 50.0) == 0.8
    assert budget.progress(30.0, 0.0) == 1.0


def test_reserved_time_ends_the_training_earlier() -> None:
    budget = Budget(max_epochs=None, max_seconds=100.0)
    assert budget.progress(0.0, 80.0, reserved_seconds=20.0) == 1.0
    assert budget.progress(0.0, 40.0, reserved_seconds=1e9) < 1.0


def test_a_budget_must_end() -> None:
    with pytest.raises(ConfigError, match="max_time"):
        Budget(None, None)
    with pytest.raises(ConfigError, match="at least 1"):
        Budget(0, None)


def test_cosine_warms_up_and_anneals() -> None:
    rates = [COSINE.relative_rate(p / 100) for p in range(101)]
    assert rates[0] == 0.0
    assert rates[10] == 1.0
    assert rates[100] == pytest.approx(0.01)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_plateau_keeps_its_reduction_and_still_anneals() -> None:
    assert PLATEAU.relative_rate(0.5) == 1.0
    assert PLATEAU.relative_rate(0.5, reduction=0.25) == 0.25
    assert PLATEAU.relative_rate(1.0, reduction=0.25) == pytest.approx(0.0025)


def test_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        Schedule("cosin", 0.1, 0.01, 0.5, 5)  # type: ignore[arg-type]
