"""What runs in the process of a call, beside the candidate's code. Nothing here can be trusted once that code has started."""
