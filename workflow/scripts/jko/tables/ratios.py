"""How much harder the unpaired setting is than the paired one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from jko.tables import statistics
from jko.tables.errors import MODES, per_seed

PAIRINGS = ("paired", "unpaired")


def unpaired_over_paired(
    metrics: pd.DataFrame,
    keys: Mapping[str, Mapping],
    names: Sequence[str],
    methods: Mapping[str, Mapping],
    references: Sequence[str],
) -> pd.DataFrame:
    """Unpaired error over paired error of every landscape (ijkonet table 2).

    A seed's ratio is that of its two means over times; ``mean`` and ``std`` are over
    the ratios of the seeds that both datasets have, so that ``std`` says how far a ratio from
    one run can be trusted. ``paired`` and ``unpaired`` are the means over the same seeds,
    and give the ratio of means to who prefers it: where a paired error is near zero in one seed,
    that ratio is the smaller one. Which seed meets which does not matter to the means,
    as the two datasets draw their particles independently.

    Args:
        keys: {dataset: {landscape, pairing}}.
        names: metrics, of those in :data:`jko.tables.errors.MODES`.

    Returns:
        Columns landscape, method, scheme, metric, paired, unpaired, then
        :data:`jko.tables.STATISTICS`.

    Raises:
        ValueError: a landscape lacks one of its two datasets, or a metric was not measured on one.
    """
    datasets = {(key["landscape"], key["pairing"]): dataset for dataset, key in keys.items()}
    table = []
    for landscape in dict.fromkeys(name for name, _ in datasets):
        lacking = [pairing for pairing in PAIRINGS if (landscape, pairing) not in datasets]
        if lacking:
            raise ValueError(
                f"landscape {landscape!r} has no {lacking[0]} dataset; a ratio needs both"
            )
        for metric in names:
            both = []
            for pairing in PAIRINGS:
                dataset = datasets[landscape, pairing]
                both.append(per_seed(metrics, dataset, metric, methods, references))
                if not both[-1]:
                    raise ValueError(
                        f"the metrics hold no {MODES[metric]} {metric} of dataset {dataset!r}"
                    )
            for method, scheme in both[0]:
                if (method, scheme) in both[1]:
                    key = {"landscape": landscape, "method": method, "scheme": scheme}
                    numbers = _ratio(both[0][method, scheme], both[1][method, scheme])
                    table.append(key | {"metric": metric} | numbers)
    return pd.DataFrame(table)


def _ratio(
    paired: tuple[pd.Series, dict[int, str]], unpaired: tuple[pd.Series, dict[int, str]]
) -> dict:
    """Means over the seeds that both have, and statistics of their ratios."""
    seeds = paired[0].index.intersection(unpaired[0].index)
    below, above = paired[0][seeds], unpaired[0][seeds]
    ratio = (above / below).where(below > 0)
    reasons = {int(seed): "the paired error is 0" for seed in seeds[below == 0]}
    for seed in seeds[(below.isna() | above.isna())]:
        sides = zip(PAIRINGS, (paired[1], unpaired[1]), strict=True)
        given = [f"{name}: {why[int(seed)]}" for name, why in sides if int(seed) in why]
        reasons[int(seed)] = "; ".join(given)
    good = ratio.notna()
    means = (below[good].mean(), above[good].mean()) if good.any() else (np.nan, np.nan)
    return dict(zip(PAIRINGS, means, strict=True)) | statistics(ratio, reasons)
