"""One run: opens what it needs, drives the search, keeps its budget, and can be stopped and resumed."""
