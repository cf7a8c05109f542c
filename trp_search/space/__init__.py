"""Search spaces: a YAML file -> a checked SearchSpace -> trial specifications. No torch."""

from trp_search.space.entries import Parameter, Scalar
from trp_search.space.example import any_trial
from trp_search.space.load import changed, load_space, read_space
from trp_search.space.model import SearchSpace
from trp_search.space.sections import Patience, RankSearch, Resources, Rungs, Sampler
