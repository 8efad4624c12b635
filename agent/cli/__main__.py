"""`python -m agent.cli` in a clone: the `evolve` command without an installation."""

from agent.cli.start.guided_evolution import main

if __name__ == "__main__":
    main()
