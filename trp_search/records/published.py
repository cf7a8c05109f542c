"""Published results, as reported: for comparison by eye, never mixed with measured points.

Accuracies are top-1 on test images. Baselines, training lengths and what is counted as a
multiply-add differ from paper to paper; rows of one source can be compared, others with care.
"""

from __future__ import annotations

from dataclasses import dataclass

TASK = "classification"  # what all of them are scored by
_TRP = "poster of Xu et al., EMC2 workshop at NeurIPS 2019 (arXiv 1910.04576)"
_TRP_CODE = "README of github.com/yuhuixu1993/Trained-Rank-Pruning"
_ALDS = "Liebenwein et al., NeurIPS 2021, table 1"
_TP = "benchmarks of github.com/VainF/Torch-Pruning"
_CP_CODE = "README of github.com/yihui-he/channel-pruning"
_SPARK = "SPARK, submission to ICLR 2022"
_DN = "Yaguchi et al., IJCAI 2021 (arXiv 1910.13141 v3), abstract"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a paper's table.

    Attributes:
        network: as trp_search names it; with `data` what a run must be to be compared.
        method: as the source names it.
        accuracy: top-1 on test, a share.
        baseline: of the source's uncompressed network; None where it is not given.
        speedup: multiply-adds before / after.
        afterwards: what is trained after the decomposition: `nothing`, `fine-tuned`, `retrained`
            or `not stated`.
        source: the publication.
    """

    network: str
    data: str
    method: str
    accuracy: float
    baseline: float | None
    speedup: float
    afterwards: str
    source: str


def rows(network: str | None = None, data: str | None = None) -> list[Published]:
    """The rows of a network and data, or all rows; each source's fastest last."""
    return [
        row
        for row in _ROWS
        if (network is None or row.network == network) and (data is None or row.data == data)
    ]


_Line = tuple[str, float, float, str]


def _table(
    network: str, data: str, baseline: float | None, source: str, *lines: _Line
) -> list[Published]:
    return [
        Published(
            network=network,
            data=data,
            method=method,
            accuracy=round(accuracy / 100, 6),
            baseline=None if baseline is None else round(baseline / 100, 6),
            speedup=speedup,
            afterwards=afterwards,
            source=source,
        )
        for method, accuracy, speedup, afterwards in sorted(lines, key=lambda line: line[2])
    ]


# The poster and the authors' README name the two schemes the other way round; the poster's names
# stand here. ALDS gives changes in points and the share of
# multiply-adds cut: its rows are worked out from those.
_ROWS = [
    *_table(
        "resnet20",
        "cifar10",
        91.74,
        _TRP,
        ("TRP, spatial", 90.12, 1.97, "nothing"),
        ("TRP + nuclear, spatial", 90.50, 2.17, "nothing"),
        ("TRP, channel", 90.13, 2.66, "nothing"),
        ("TRP + nuclear, channel", 90.62, 2.84, "nothing"),
        ("spatial decomposition", 88.13, 1.41, "fine-tuned"),
        ("channel decomposition", 89.49, 1.66, "fine-tuned"),
    ),
    *_table(
        "resnet20",
        "cifar10",
        91.74,
        _TRP_CODE,
        ("TRP + nuclear, network decoupling", 90.88, 2.04, "nothing"),
    ),
    *_table(
        "resnet20",
        "cifar10",
        91.39,
        _ALDS,
        ("plain SVD", 91.39 - 0.29, 1 / (1 - 0.3895), "retrained"),
        ("PCA", 91.39 - 0.11, 1 / (1 - 0.4867), "retrained"),
        ("SVD by energy", 91.39 - 0.21, 1 / (1 - 0.4908), "retrained"),
        ("L-Rank", 91.39 - 0.44, 1 / (1 - 0.5489), "retrained"),
        ("ALDS", 91.39 - 0.47, 1 / (1 - 0.6786), "retrained"),
    ),
    *_table(
        "resnet32",
        "cifar10",
        92.26,
        _TRP_CODE,
        ("TRP + nuclear, channel", 91.40, 2.2, "nothing"),
        ("TRP + nuclear, spatial", 91.39, 3.4, "nothing"),
    ),
    *_table(
        "resnet56",
        "cifar10",
        92.80,
        f"He et al., ICCV 2017, as quoted in the {_TP}",
        ("channel pruning (ICCV 2017)", 91.80, 2.00, "fine-tuned"),
    ),
    *_table(
        "resnet56",
        "cifar10",
        93.53,
        _TP,
        ("group L1", 92.93, 2.12, "fine-tuned"),
        ("group batch norm", 93.29, 2.12, "fine-tuned"),
        ("DepGraph without sparse learning", 93.46, 2.11, "fine-tuned"),
        ("DepGraph", 93.77, 2.13, "fine-tuned"),
    ),
    *_table(
        "resnet56",
        "cifar10",
        93.27,
        _SPARK,
        ("SPARK", 93.91, 1 / (1 - 0.660), "not stated"),
    ),
    *_table(
        "resnet56",
        "cifar10",
        93.33,
        f"CC, as quoted in {_SPARK}",
        ("CC (pruning and decomposition)", 93.64, 1 / (1 - 0.520), "not stated"),
    ),
    *_table(
        "resnet56",
        "cifar10",
        93.14,
        f"TRP, as quoted in {_SPARK}",
        ("TRP", 92.77, 1 / (1 - 0.567), "not stated"),
    ),
    *_table(
        "resnet18",
        "imagenet",
        69.10,
        _TRP,
        ("spatial decomposition", 63.1, 1.41, "fine-tuned"),
        ("TRP, spatial", 65.46, 1.81, "nothing"),
        ("channel decomposition", 62.80, 2.00, "fine-tuned"),
        ("TRP + nuclear, spatial", 65.39, 2.23, "nothing"),
        ("TRP, channel", 65.51, 2.60, "nothing"),
        ("TRP + nuclear, channel", 65.34, 3.18, "nothing"),
    ),
    *_table(
        "resnet50",
        "imagenet",
        75.90,
        _TRP,
        ("spatial decomposition", 71.80, 1.50, "fine-tuned"),
        ("filter pruning (ICCV 2017)", 72.04, 1.58, "fine-tuned"),
        ("TRP + nuclear, spatial", 74.06, 1.80, "nothing"),
        ("ThiNet (TPAMI 2018)", 72.03, 2.26, "fine-tuned"),
        ("TRP + nuclear, spatial", 72.69, 2.30, "nothing"),
    ),
    *_table(
        "resnet50",
        "imagenet",
        None,
        _CP_CODE,
        ("channel pruning (ICCV 2017)", 72.3, 2.00, "fine-tuned"),
    ),
    *_table(
        "resnet50",
        "imagenet",
        None,
        _DN,
        ("Tucker", 67.4, 1 / 0.30, "not stated"),
        ("TRP, as measured there", 70.6, 1 / 0.28, "not stated"),
        ("Decomposable-Net", 73.2, 1 / 0.27, "nothing"),
        ("universally slimmable network", 71.4, 1 / 0.26, "not stated"),
    ),
]
