"""The values that pass between stages: frozen, checked, JSON both ways, no torch."""

from trp_search.records.cut import TAKES, Cut
from trp_search.records.int8 import (
    SUFFIXES,
    USUAL_QUANTIZER,
    Int8,
    Precision,
    QuantizerName,
    int8_name,
)
from trp_search.records.json import from_json, made, problem, to_dict, to_json
from trp_search.records.keep import Keep, PerLayer, WholeNetwork, keep_of
from trp_search.records.keeps import (
    KEEPS,
    OF_VALUES,
    Energy,
    Error,
    Evbmf,
    GavishDonoho,
    MaxDrop,
    Pairs,
    Parameters,
    Ranks,
    Ratio,
    Speedup,
    Value,
)
from trp_search.records.kinds import (
    BASELINE,
    Allocation,
    ChannelScore,
    Criterion,
    CutScheme,
    Device,
    Ending,
    Factor,
    Fraction,
    Kind,
    LayerScheme,
    MethodName,
    Name,
    NonNegative,
    PairScheme,
    Part,
    Positive,
    PositiveInt,
    Reconstruct,
    Role,
    Scheme,
    Share,
    Start,
    TargetName,
    Threads,
    Widths,
    is_name,
)
from trp_search.records.latency import (
    CutTime,
    Factored,
    Latency,
    LayerSaves,
    Prediction,
    RuntimeName,
    Target,
    TimeTable,
)
from trp_search.records.layers import AUTO, Layers, Selection
from trp_search.records.progress import Progress
from trp_search.records.results import (
    EpochReport,
    Layer,
    Point,
    Repeat,
    RungScore,
    TestScore,
    TrialResult,
)
from trp_search.records.run import Environment, Importance, Split
from trp_search.records.scores import Score
from trp_search.records.specs import (
    Distillation,
    Training,
    TrialSpec,
    trial_name,
)
from trp_search.records.timed import TIMED, LatencySpeedup, Milliseconds
from trp_search.records.trainings import Elastic, Joint, Pruning, Slimmable, Way
from trp_search.records.workload import DataSpec, NetworkSpec, Workload
