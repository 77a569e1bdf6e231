"""Rule figure_weak_form_cuts: the slope of V along a line, of every method on every landscape, for the first seed."""

import numpy as np

from jko import evaluation, methods, snapshots, uncertainty
from jko.plotting import cuts, style

_POINTS = 200
settings = snakemake.params.methods
fits = iter(snakemake.input.fits)
found = []
with open(snakemake.log[0], "w") as log:
    for path in snakemake.input.snapshots:
        data = snapshots.load(path)
        cloud, t = np.concatenate(data.clouds(0, "test")), data.time[0]
        line = np.tile(cloud.mean(axis=0), (_POINTS, 1))
        line[:, 0] = np.linspace(*np.quantile(cloud[:, 0], [0.005, 0.995]), _POINTS)
        true = uncertainty.slopes(evaluation.true_energy(data.truth), line, t)
        learned, deviation = {}, {}
        for name, entry in settings.items():
            seeds, status = methods.load(next(fits), entry)
            print(f"{data.truth.potential} {name}: {status[0]}", file=log)
            if seeds[0] is None:
                continue
            learned[name] = uncertainty.slopes(seeds[0].energy, line, t)
            if seeds[0].uncertainty is not None:
                deviation[name] = uncertainty.slope_deviations(
                    seeds[0].uncertainty.covariance, line, t
                )
        found.append(cuts.Cut(data.truth.potential, line[:, 0], true, learned, deviation))
figure = cuts.cuts(found, list(settings), uncertainty.quantile())
style.save(figure, snakemake.output.pdf, snakemake.output.png)
