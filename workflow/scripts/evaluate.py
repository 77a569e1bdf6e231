"""Rule evaluate: errors and predictions of a fit on the test rows."""

from jko import evaluation, methods, prediction, snapshots
from jko.files import write_text

settings, names = snakemake.params.method, snakemake.wildcards
scheme = settings["scheme"]
with open(snakemake.log[0], "w") as log:
    data = snapshots.load(snakemake.input.snapshots)
    learned, status = methods.load(snakemake.input.fit, settings)
    energies = [found and found.energy for found in learned]
    sure = None
    if hasattr(methods.module(settings["kind"]), "uncertainty"):
        sure = [found and found.uncertainty for found in learned]
    summaries = {
        name: [found.summary[name] if found else float("nan") for found in learned]
        for name in methods.summary_of(settings["kind"])
    }
    predictions = [
        found and prediction.predict(found.energy, data, s, scheme, found.transport)
        for s, found in enumerate(learned)
    ]
    numbers = []
    for number in evaluation.evaluate_fit(
        data,
        energies,
        predictions,
        status,
        scheme,
        names.method,
        snakemake.threads,
        sure,
        summaries,
    ):
        print(*number, file=log, flush=True)
        numbers.append(number)
    prediction.save(data, energies, status, predictions[0], scheme, snakemake.output.predictions)
    kept = methods.load_kept(snakemake.input.fit, settings)
    kept = {epoch: [found and found.energy for found in then] for epoch, then in kept.items()}
    trace = evaluation.trace(data, kept, status, scheme)
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
write_text(trace.to_csv(sep="\t", index=False), snakemake.output.trace)
