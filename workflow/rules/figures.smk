# Tables and figures. They read artefacts only, so that a restyled plot trains nothing again.

# The day ranges of the five snapshots of the embryoid body study, in order.
EMBRYOID_DAYS = ["0–3", "6–9", "12–15", "18–21", "24–27"]


rule table_embryoid:
    input:
        metrics=expand(
            "results/embryoid/{method}/metrics.tsv",
            method=[*experiment_methods("embryoid"), "reference"],
        ),
    output:
        tsv=report(
            "results/tables/embryoid.tsv",
            caption="../report/table_embryoid.rst",
            category="Embryoid body cells",
        ),
        md="results/tables/embryoid.md",
    log:
        "results/logs/table_embryoid.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        dataset="embryoid",
        methods={name: config["methods"][name] for name in experiment_methods("embryoid")},
        references=["sampling_floor", "identity", "mean_shift"],
        days=EMBRYOID_DAYS,
        code=code("table_embryoid"),
    script:
        "../scripts/table_embryoid.py"


rule table_potentials:
    input:
        metrics=expand(
            "results/{dataset}/{method}/metrics.tsv",
            dataset=experiment_datasets("potentials"),
            method=[*experiment_methods("potentials"), "reference"],
        ),
    output:
        tsv=report(
            "results/tables/potentials.tsv",
            caption="../report/table_potentials.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/potentials.md",
    log:
        "results/logs/table_potentials.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_datasets("potentials"),
        methods={name: config["methods"][name] for name in experiment_methods("potentials")},
        references=[
            "oracle",
            "implicit_oracle",
            "zero_energy",
            "identity",
            "mean_shift",
            "sampling_floor",
        ],
        code=code("table_potentials"),
    script:
        "../scripts/table_potentials.py"


rule table_summary:
    input:
        snapshots=expand("results/{dataset}/snapshots.npz", dataset=available_datasets()),
    output:
        tsv=report(
            "results/tables/summary.tsv",
            caption="../report/table_summary.rst",
            category="Datasets",
        ),
        md="results/tables/summary.md",
    log:
        "results/logs/table_summary.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=available_datasets(),
        kinds={
            name: config["datasets"][name]["kind"]
            for name in [*available_datasets(), *left_out_datasets()]
        },
        left_out=left_out_datasets(),
        code=code("table_summary"),
    script:
        "../scripts/table_summary.py"


rule figure_embryoid:
    input:
        snapshots="results/embryoid/snapshots.npz",
        density="results/embryoid/density-gmm.npz",
        predictions="results/embryoid/jkonet_star_time/predictions.npz",
        errors="results/tables/embryoid.tsv",
    output:
        pdf="results/figures/embryoid.pdf",
        png=report(
            "results/figures/embryoid.png",
            caption="../report/figure_embryoid.rst",
            category="Embryoid body cells",
        ),
    log:
        "results/logs/figure_embryoid.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        method="jkonet_star_time",
        scheme=lookup(dpath="methods/jkonet_star_time/scheme", within=config),
        methods={name: config["methods"][name] for name in experiment_methods("embryoid")},
        days=EMBRYOID_DAYS,
        code=code("figure_embryoid"),
    script:
        "../scripts/figure_embryoid.py"


rule figure_level_curves:
    input:
        snapshots=expand(
            "results/{dataset}/snapshots.npz", dataset=experiment_datasets("level_curves")
        ),
        predictions=expand(
            "results/{dataset}/{method}/predictions.npz",
            dataset=experiment_datasets("level_curves"),
            method=experiment_methods("level_curves")[:1],
        ),
    output:
        pdf="results/figures/level_curves.pdf",
        png=report(
            "results/figures/level_curves.png",
            caption="../report/figure_level_curves.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_level_curves.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        method=first_method("level_curves"),
        code=code("figure_level_curves"),
    script:
        "../scripts/figure_level_curves.py"


rule figure_schemes:
    input:
        errors="results/tables/potentials.tsv",
    output:
        pdf="results/figures/schemes.pdf",
        png=report(
            "results/figures/schemes.png",
            caption="../report/figure_schemes.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_schemes.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        pairing="paired",
        methods={name: config["methods"][name] for name in experiment_methods("potentials")},
        references={"zero_energy": "V = 0", "implicit_oracle": "exact implicit condition"},
        code=code("figure_schemes"),
    script:
        "../scripts/figure_schemes.py"
