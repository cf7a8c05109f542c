"""Search spaces: a YAML file -> a checked SearchSpace -> trial specifications. No torch."""

from trp_search.space.entries import Parameter, Value
from trp_search.space.load import changed, load_space
from trp_search.space.model import Resources, Sampler, SearchSpace

__all__ = ["Parameter", "Resources", "Sampler", "SearchSpace", "Value", "changed", "load_space"]
