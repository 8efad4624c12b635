"""The scenes of the operators' tests serve those of the search too."""

from tests.operators.conftest import brief_of, gained, half_way, helpers, prompts

__all__ = ["brief_of", "gained", "half_way", "helpers", "prompts"]
