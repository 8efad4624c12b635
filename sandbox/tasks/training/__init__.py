"""How an image classifier is trained: the recipe that is configured, and the loop that follows it inside the sandbox."""
