"""The search itself: the loop of the paper, its steady twin, and what they draw from and learn by."""
