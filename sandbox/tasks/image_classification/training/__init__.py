"""The training of an image classifier: the configured recipe, and the loop inside the sandbox that follows it."""
