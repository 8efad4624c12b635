"""One run: open its components, drive the search, keep the budget, stop and resume."""
