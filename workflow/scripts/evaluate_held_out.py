"""Rule evaluate_held_out: errors of a fit on the snapshot that it did not see."""

from jko import evaluation, held_out, methods, snapshots
from jko.files import write_text

settings, names = snakemake.params.method, snakemake.wildcards
scheme = settings["scheme"]
with open(snakemake.log[0], "w") as log:
    data = snapshots.load(snakemake.input.snapshots)
    learned, status = methods.load(snakemake.input.fit, settings)
    predictions = [
        found and held_out.predict(found.energy, data, s, scheme, found.transport)
        for s, found in enumerate(learned)
    ]
    numbers = []
    for number in held_out.evaluate_fit(data, predictions, status, scheme, names.method):
        print(*number, file=log, flush=True)
        numbers.append(number)
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
