"""The task `image-classification`.

On the trusted side: `settings`, `facts`, `task`, `evaluation`. Inside the sandbox: `inside` and `training/`.
"""
