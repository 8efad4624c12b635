from tinyseg.models import MLP as MLP

__version__ = "0.3.0"
