from .convmixer import *  # noqa: F403
from .registry import create_model as create_model
