import logging
import warnings

import pytest

from gnnpot.training.quiet import LOGGERS, without_notices


def test_notices_are_silent_inside_and_all_is_as_before_outside() -> None:
    levels = [logging.getLogger(name).level for name in LOGGERS]
    filters = list(warnings.filters)
    with without_notices():
        assert not logging.getLogger(LOGGERS[0]).isEnabledFor(logging.WARNING)
        assert logging.getLogger(LOGGERS[0]).isEnabledFor(logging.ERROR)
    assert [logging.getLogger(name).level for name in LOGGERS] == levels
    assert warnings.filters == filters


def test_warnings_of_others_pass() -> None:
    with pytest.warns(UserWarning, match="mine"), without_notices():
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_all_is_as_before_after_an_error() -> None:
    levels = [logging.getLogger(name).level for name in LOGGERS]
    with pytest.raises(ValueError, match="inside"), without_notices():
        raise ValueError("inside")
    assert [logging.getLogger(name).level for name in LOGGERS] == levels
