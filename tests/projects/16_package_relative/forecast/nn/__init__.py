from .blocks import Mixer as Mixer
