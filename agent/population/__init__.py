"""Candidates in all their stages, the archive of what was measured, and selection among them."""
