import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.budget.clock import next_time
from tests.budget.simulation import BERLIN, at


class TestNextTime:
    @pytest.mark.parametrize(
        ("text", "now", "then"),
        [
            ("07:30", "2025-06-01 07:29:59", "2025-06-01 07:30"),
            ("07:30", "2025-06-01 07:30", "2025-06-02 07:30"),
            ("7:30", "2025-12-31 23:00", "2026-01-01 07:30"),
            ("00:00", "2025-06-01 12:00", "2025-06-02 00:00"),
            ("23:59", "2024-02-28 23:59:30", "2024-02-29 23:59"),
        ],
    )
    def test_it_is_today_or_else_tomorrow(self, text, now, then):
        assert next_time(text, at(now), BERLIN) == at(then)

    def test_a_night_in_which_clocks_are_set_forward_is_an_hour_shorter(self):
        now = at("2025-03-29 22:00")
        assert next_time("07:00", now, BERLIN) - now == 8 * 3600

    def test_a_night_in_which_clocks_are_set_back_is_an_hour_longer(self):
        now = at("2025-10-25 22:00")
        assert next_time("07:00", now, BERLIN) - now == 10 * 3600

    def test_a_time_that_clocks_skip_is_the_moment_at_which_it_would_have_been(self):
        now = at("2025-03-30 01:30")
        assert next_time("02:30", now, BERLIN) - now == 3600
        assert next_time("02:30", now + 3600, BERLIN) == at("2025-03-31 02:30")

    def test_a_time_that_comes_twice_is_the_next_of_both(self):
        first = at("2025-10-26 02:30")
        assert next_time("02:30", first - 60, BERLIN) == first
        assert next_time("02:30", first, BERLIN) == first + 3600
        assert next_time("02:30", first + 3600, BERLIN) == at("2025-10-27 02:30")

    @given(st.integers(0, 2**31), st.integers(0, 23), st.integers(0, 59))
    def test_it_is_always_ahead_and_within_a_day_or_so_and_shows_that_time(self, now, hour, minute):
        moment = next_time(f"{hour}:{minute:02d}", now, BERLIN)
        assert 0 < moment - now <= 25 * 3600
        local = datetime.fromtimestamp(moment, BERLIN)
        skipped = local.month == 3 and hour == 2
        assert (local.hour, local.minute) == (3 if skipped and local.hour == 3 else hour, minute)

    @pytest.mark.parametrize("now", ["2025-03-29 22:00", "2025-10-25 22:00", "2025-10-26 02:30", "2025-06-01 12:00"])
    @pytest.mark.parametrize("text", ["02:30", "07:00"])
    def test_the_systems_own_zone_gives_the_same(self, monkeypatch, now, text):
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "Europe/Berlin")
            time.tzset()
            moment = next_time(text, at(now))
        time.tzset()
        assert moment == next_time(text, at(now), BERLIN)
