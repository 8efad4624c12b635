"""What tokens cost; which price goes first is tested through real calls in `backends/test_endpoint.py`."""

import pytest

from agent.llm import Usage, price
from agent.llm.prices import cost


def test_configured_prices_are_per_million_tokens_and_take_precedence():
    assert price("openai/gpt-4o-mini", {"openai/gpt-4o-mini": (3.0, 7.0)}) == pytest.approx((3e-6, 7e-6))
    assert price("openai/gpt-4o-mini", {}) == pytest.approx((0.15e-6, 0.6e-6))
    assert price("nobody/knows", {}) is None


def test_cost_is_unknown_without_a_price_and_zero_only_for_a_free_model():
    usage = Usage(1000, 500)
    assert cost(usage, None) is None
    assert cost(usage, (3e-6, 7e-6)) == pytest.approx(0.0065)
    assert cost(usage, (0.0, 0.0)) == 0.0


def test_usages_add_up_and_stay_estimated():
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)
    assert Usage(1, 2) + Usage(3, 4, estimated=True) == Usage(4, 6, estimated=True)
