"""How an image classifier is trained: the configured recipe, and the loop inside the sandbox that follows it."""
