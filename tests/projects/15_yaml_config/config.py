import json
from pathlib import Path
from types import SimpleNamespace


def load_config(path):
    """Sections of `key: value`; values are numbers or words."""
    config, section = {}, None
    for line in Path(path).read_text().splitlines():
        line = line.split("#")[0].rstrip()
        if not line:
            continue
        key, _, value = line.strip().partition(":")
        if not line.startswith(" "):
            section = config.setdefault(key, {})
        else:
            value = value.strip()
            section[key] = json.loads(value) if value[0].isdigit() else value
    return SimpleNamespace(**{k: SimpleNamespace(**v) for k, v in config.items()})
