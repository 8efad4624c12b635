"""Guided Evolution: LLMs rewrite blocks of a PyTorch model, measurement decides which rewrites live."""
