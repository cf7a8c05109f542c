"""The run folder: paths, append-only records, atomic writes, locks."""

from trp_search.store.disk import unwritable
from trp_search.store.files import (
    append_record,
    building,
    exclusive,
    read_record,
    read_records,
    replace_record,
    replacing,
    write_whole,
)
from trp_search.store.folders import FORMAT, RunFolder
from trp_search.store.inside import numbered
from trp_search.store.scratch import scratch, sweep_scratch
from trp_search.store.trial import NESTED, TrialFolder
