import pytest

from tests.budget.simulation import Hands


@pytest.fixture
def hands():
    return Hands()
