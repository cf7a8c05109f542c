"""Tasks of networks: loss, metric and distillation from another network."""

from trp_search.records import Workload
from trp_search.tasks.classification import Classification
from trp_search.tasks.task import Task

TASKS: dict[str, Task] = {"classification": Classification()}


def task_of(workload: Workload) -> Task:
    """The task that a workload names."""
    return TASKS[workload.task]
