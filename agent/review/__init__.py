"""Compute from the journal of a run: its status, its candidates, what it learned, a comparison, a report."""
