"""Rule benchmark: one task from process start to results on disk, with the seconds of its phases."""

import json
import os
import tempfile
import time
from pathlib import Path

# A cached program would hide the compilation, which a first run pays.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
started = time.perf_counter()

import numpy as np
from jko import couplings, evaluation, methods, prediction, snapshots
from jko.files import write_text

# The transport solver is imported when it is first used.
couplings.network_simplex(np.zeros((1, 1)))
settings, task = snakemake.params.method, snakemake.wildcards.task
phases = {"imports": time.perf_counter() - started}


def timed(phase, function, *arguments):
    """Run a function and note its seconds."""
    begun = time.perf_counter()
    result = function(*arguments)
    phases[phase] = time.perf_counter() - begun
    return result


def errors(learned, status, folder):
    """Predict, measure and write, as rule evaluate does."""
    scheme, energies = settings["scheme"], [found and found.energy for found in learned]
    predictions = [
        found and prediction.predict(found.energy, data, s, scheme, found.transport)
        for s, found in enumerate(learned)
    ]
    numbers = evaluation.evaluate_fit(
        data, energies, predictions, status, scheme, task, snakemake.threads
    )
    table = evaluation.table(numbers, task, "")
    prediction.save(data, energies, status, predictions[0], scheme, folder / "predictions.npz")
    write_text(table.to_csv(sep="\t", index=False), folder / "metrics.tsv")


with open(snakemake.log[0], "w") as log, tempfile.TemporaryDirectory() as name:
    folder, report = Path(name), lambda line: print(line, file=log)
    data = snapshots.load(snakemake.input.snapshots)
    if task == "couple_cells":
        rows = timed("couple", couplings.couple_snapshots, data, {"kind": "exact"}, report)
        couplings.save(rows, folder / "coupling.npz")
    else:
        needs = list(snakemake.input.needs)
        if task.startswith("train_"):
            paths = {Path(need).name.partition("-")[0]: need for need in needs}
            problem = methods.load_problem({"snapshots": snakemake.input.snapshots, **paths})
            fit = timed("train", methods.module(settings["kind"]).fit, problem, settings, report)
            needs = [folder / "fit.msgpack"]
            methods.save(fit, data.seed, needs[0])
        timed("evaluate", errors, *methods.load(needs[0], settings), folder)
write_text(json.dumps(phases), snakemake.output.phases)
