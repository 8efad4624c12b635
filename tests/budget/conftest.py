import pytest

from tests.budget.simulation import ManualClock


@pytest.fixture
def manual():
    return ManualClock()
