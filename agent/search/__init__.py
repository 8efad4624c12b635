"""The search: the loop of the paper, its steady version, and how they choose recipes and learn from results."""
