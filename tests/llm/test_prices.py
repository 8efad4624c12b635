"""What tokens cost; which price goes first is tested through real calls in `backends/test_endpoint.py`."""

import pytest

from agent.llm import Usage, price
from agent.llm.prices import Price, cost


def test_configured_prices_are_per_million_tokens_and_take_precedence():
    assert price("openai/gpt-4o-mini", {"openai/gpt-4o-mini": (3.0, 7.0)}) == pytest.approx((3e-6, 7e-6, 3e-6))
    assert price("openai/gpt-4o-mini", {"openai/gpt-4o-mini": (3.0, 7.0, 1.0)}) == pytest.approx((3e-6, 7e-6, 1e-6))
    assert price("openai/gpt-4o-mini", {}) == pytest.approx((0.15e-6, 0.6e-6, 0.075e-6))
    assert price("openai/gpt-4", {}) == pytest.approx((30e-6, 60e-6, 30e-6))  # a model without a cache
    assert price("nobody/knows", {}) is None


def test_cost_is_unknown_without_a_price_and_zero_only_for_a_free_model():
    usage = Usage(1000, 500)
    assert cost(usage, None) is None
    assert cost(usage, Price(3e-6, 7e-6, 1e-6)) == pytest.approx(0.0065)
    assert cost(usage, Price(0.0, 0.0, 0.0)) == 0.0


def test_what_came_from_a_cache_has_a_price_of_its_own():
    assert cost(Usage(1000, 500, tokens_cached=800), Price(3e-6, 7e-6, 1e-6)) == pytest.approx(0.0006 + 0.0008 + 0.0035)


def test_usages_add_up_and_stay_estimated():
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)
    assert Usage(1, 2) + Usage(3, 4, estimated=True) == Usage(4, 6, estimated=True)
    assert Usage(9, 2, tokens_cached=5) + Usage(9, 4, tokens_cached=1) == Usage(18, 6, tokens_cached=6)
