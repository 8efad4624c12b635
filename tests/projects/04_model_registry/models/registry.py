_entrypoints = {}


def register_model(fn):
    """Makes an architecture known by the name of its function."""
    _entrypoints[fn.__name__] = fn
    return fn


def create_model(model_name, **kwargs):
    if model_name not in _entrypoints:
        raise RuntimeError(f"Unknown model ({model_name})")
    return _entrypoints[model_name](**kwargs)
