"""The `evolve` command."""
