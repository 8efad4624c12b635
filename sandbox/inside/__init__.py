"""Code that runs in the process of a call, next to the candidate's code. It cannot be trusted once that code has started."""
