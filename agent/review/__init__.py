"""What the journal of a run shows afterwards: its status, its candidates, what it learned, a comparison, a report."""
