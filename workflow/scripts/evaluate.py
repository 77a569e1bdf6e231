"""Rule evaluate: errors and predictions of a fit on the test rows."""

from jko import evaluation, methods, prediction, snapshots
from jko.files import write_text

settings, names = snakemake.params.method, snakemake.wildcards
scheme = settings["scheme"]
with open(snakemake.log[0], "w") as log:
    data = snapshots.load(snakemake.input.snapshots)
    energies, status = methods.load(snakemake.input.fit, settings)
    predictions = []
    for s, energy in enumerate(energies):
        predictions.append(energy and prediction.predict(energy, data, s, scheme))
        print(f"seed {data.seed[s]} ({s + 1} of {len(energies)}): predicted", file=log, flush=True)
    prediction.save(data, energies, status, predictions[0], scheme, snakemake.output.predictions)
    numbers = []
    for number in evaluation.evaluate_fit(
        data, energies, predictions, status, scheme, names.method, snakemake.threads
    ):
        print(*number, file=log, flush=True)
        numbers.append(number)
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
