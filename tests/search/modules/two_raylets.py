"""`python two_raylets.py RUN SPACE`: a search on a cluster of two nodes on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from trp_search.search.driver import run_search
from trp_search.space import load_space
from trp_search.store import RunFolder


def main() -> None:
    run, space = map(Path, sys.argv[1:])
    sys.path.append(str(Path(__file__).parent / "theirs"))  # Ray knows nothing of this
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1)
    try:
        run_search(
            load_space(space),
            RunFolder(path=run),
            address=nodes.address,
            on_event=print,
        )
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    main()
