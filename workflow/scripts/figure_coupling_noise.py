"""Rule figure_coupling_noise: what the pairs of a coupling and what means say of test functions, with the truth beside."""

import numpy as np

from jko import couplings, evaluation, readings, snapshots, trials
from jko.plotting import coupling_noise, style

widths = np.array(snakemake.params.widths)
paths = zip(snakemake.input.snapshots, snakemake.input.couplings, strict=True)
found = []
with open(snakemake.log[0], "w") as log:
    for path, plan in paths:
        data, rows = snapshots.load(path), couplings.load(plan)
        truth, errors = evaluation.true_energy(data.truth), []
        for s, seed in enumerate(data.seed):
            clouds, pairs = data.clouds(s, "train"), readings.pairs_of(rows, data, s)
            steps = readings.euler_steps(truth, data, s)
            centers = trials.centres(clouds, snakemake.params.centers, int(seed))
            each = [readings.errors(clouds, pairs, steps, centers, width) for width in widths]
            print(f"{data.truth.potential} seed {seed}: {each}", file=log, flush=True)
            errors.append(each)
            if s == 0:
                x, y, _ = pairs[0]
                shown = clouds[0][:, 0], steps[0][:, 0], x[:, 0], (y - x)[:, 0]
        found.append(
            coupling_noise.Readings(data.truth.potential, *shown, widths, np.array(errors))
        )
figure = coupling_noise.coupling_noise(found, readings.READINGS)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
