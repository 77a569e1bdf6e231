"""Rule evaluate_train: one-step errors of a fit on rows that it has learned from."""

from jko import evaluation, methods, prediction, snapshots
from jko.files import write_text

settings, names = snakemake.params.method, snakemake.wildcards
scheme = settings["scheme"]
with open(snakemake.log[0], "w") as log:
    data = snapshots.exchanged(snapshots.load(snakemake.input.snapshots))
    learned, status = methods.load(snakemake.input.fit, settings)
    energies = [found and found.energy for found in learned]
    predictions = [
        found and prediction.predict(found.energy, data, s, scheme, found.transport)
        for s, found in enumerate(learned)
    ]
    numbers = []
    for number in evaluation.evaluate_fit(
        data, energies, predictions, status, scheme, names.method, snakemake.threads
    ):
        if number.mode == "one_step" and number.metric == "w1":
            print(*number, file=log, flush=True)
            numbers.append(number._replace(metric="w1_train"))
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
