"""The append-only record of a run: its events, how they are stored, and how a resume reads them back."""
