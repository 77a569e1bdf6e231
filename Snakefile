"""Learn the energy behind population snapshots: data, couplings, fits, errors, tables and figures."""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"
configfile: "config/datasets.yaml"
configfile: "config/methods.yaml"
configfile: "config/searches.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/precompute.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/tables_terms.smk"
include: "workflow/rules/tables_costs.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/searches.smk"
include: "workflow/rules/benchmarks.smk"


rule all:
    default_target: True
    input:
        experiment_outputs(),
        "results/metrics.tsv",
        "results/tables/summary.tsv",
