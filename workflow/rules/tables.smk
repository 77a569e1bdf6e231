# Tables. They read artefacts only, so that a restyled table trains nothing again.

# The day ranges of the five snapshots of the embryoid body study, in order.
EMBRYOID_DAYS = ["0–3", "6–9", "12–15", "18–21", "24–27"]
# What needs no learning, in the order of the tables.
REFERENCES = [
    "oracle",
    "implicit_oracle",
    "zero_energy",
    "identity",
    "mean_shift",
    "sampling_floor",
]


rule table_embryoid:
    input:
        metrics=cells_metrics,
    output:
        tsv=report(
            "results/tables/{table}.tsv",
            caption="../report/table_embryoid.rst",
            category="Embryoid body cells",
        ),
        md="results/tables/{table}.md",
    log:
        "results/logs/table_{table}.log",
    wildcard_constraints:
        table="embryoid|embryoid_static|embryoid_interaction|ijkonet_table1",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        dataset="embryoid",
        methods=table_methods,
        references=["sampling_floor", "identity", "mean_shift"],
        days=EMBRYOID_DAYS,
        code=code("table_embryoid"),
    script:
        "../scripts/table_embryoid.py"


rule table_embryoid_heldout:
    input:
        metrics=experiment_files("embryoid_heldout", "held_out.tsv", ["reference"]),
    output:
        tsv=report(
            "results/tables/embryoid_heldout.tsv",
            caption="../report/table_embryoid_heldout.rst",
            category="Embryoid body cells",
        ),
        md="results/tables/embryoid_heldout.md",
    log:
        "results/logs/table_embryoid_heldout.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_datasets("embryoid_heldout"),
        methods=experiment_method_settings("embryoid_heldout"),
        references=[
            "split_half",
            "centred_displacement",
            "transport_spline",
            "displacement",
            "mean_shift",
            "mixture",
            "identity",
        ],
        days=EMBRYOID_DAYS,
        code=code("table_embryoid_heldout"),
    script:
        "../scripts/table_embryoid_heldout.py"


rule table_potentials:
    input:
        metrics=experiment_metrics("potentials"),
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
        datasets=experiment_columns("potentials", landscape="potential", pairing="pairing"),
        metrics=["w1", "bw2_uvp", "l2_uvp"],
        methods=experiment_method_settings("potentials"),
        references=REFERENCES,
        layout={"index": ["landscape"], "columns": ["method", "scheme"], "by": ["pairing"]},
        code=code("table_errors"),
    script:
        "../scripts/table_errors.py"


use rule table_potentials as table_weak_form with:
    input:
        metrics=experiment_metrics("weak_form"),
    output:
        tsv=report(
            "results/tables/weak_form.tsv",
            caption="../report/table_weak_form.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/weak_form.md",
    log:
        "results/logs/table_weak_form.log",
    params:
        datasets=experiment_columns("weak_form", landscape="potential"),
        metrics=[
            "w1",
            "l2_uvp",
            "l2_uvp_expected",
            "gradient_coverage",
            "misfit",
            "condition",
            "known_potential",
        ],
        methods=experiment_method_settings("weak_form"),
        references=REFERENCES,
        layout={"index": ["landscape"], "columns": ["method", "scheme"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_dimensions with:
    input:
        metrics=experiment_metrics("dimensions"),
    output:
        tsv=report(
            "results/tables/dimensions.tsv",
            caption="../report/table_dimensions.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/dimensions.md",
    log:
        "results/logs/table_dimensions.log",
    params:
        datasets=experiment_columns(
            "dimensions", landscape="potential", dimension="dimension", n_train="n_train"
        ),
        metrics=["w1", "l2_uvp", "misfit"],
        methods=experiment_method_settings("dimensions"),
        references=REFERENCES,
        layout={
            "index": ["method", "scheme"],
            "columns": ["dimension", "n_train"],
            "by": ["landscape"],
        },
        code=code("table_errors"),


use rule table_potentials as table_particles with:
    input:
        metrics=experiment_metrics("particles"),
    output:
        tsv=report(
            "results/tables/particles.tsv",
            caption="../report/table_particles.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/particles.md",
    log:
        "results/logs/table_particles.log",
    params:
        datasets=experiment_columns("particles", landscape="potential", n_train="n_train"),
        metrics=["w1", "l2_uvp", "misfit"],
        methods=experiment_method_settings("particles"),
        references=REFERENCES,
        layout={"index": ["landscape"], "columns": ["method", "scheme", "n_train"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_weak_form_neural with:
    input:
        metrics=experiment_metrics("weak_form_neural"),
    output:
        tsv=report(
            "results/tables/weak_form_neural.tsv",
            caption="../report/table_weak_form_neural.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/weak_form_neural.md",
    log:
        "results/logs/table_weak_form_neural.log",
    params:
        datasets=experiment_columns("weak_form_neural", landscape="potential"),
        metrics=["w1", "l2_uvp"],
        methods=experiment_method_settings("weak_form_neural"),
        references=REFERENCES,
        layout={"index": ["landscape"], "columns": ["method", "scheme"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_discretisation with:
    input:
        metrics=experiment_metrics("discretisation"),
    output:
        tsv=report(
            "results/tables/discretisation.tsv",
            caption="../report/table_discretisation.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/discretisation.md",
    log:
        "results/logs/table_discretisation.log",
    params:
        datasets=experiment_columns("discretisation", landscape="potential", substeps="substeps"),
        metrics=["w1", "l2_uvp", "misfit", "evidence", "snapshots"],
        methods=experiment_method_settings("discretisation"),
        references=REFERENCES,
        layout={"index": ["landscape", "substeps"], "columns": ["method", "scheme"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_robustness with:
    input:
        metrics=experiment_metrics("robustness"),
    output:
        tsv=report(
            "results/tables/robustness.tsv",
            caption="../report/table_robustness.rst",
            category="Simulated landscapes",
        ),
        md="results/tables/robustness.md",
    log:
        "results/logs/table_robustness.log",
    params:
        datasets={name: {"dataset": name} for name in experiment_datasets("robustness")},
        metrics=["w1", "l2_uvp", "l2_uvp_edge", "snapshots", "misfit"],
        methods=experiment_method_settings("robustness"),
        references=REFERENCES,
        layout={"index": ["dataset"], "columns": ["method", "scheme"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_ijkonet_fig2 with:
    input:
        metrics=experiment_metrics("ijkonet_fig2"),
    output:
        tsv=report(
            "results/tables/ijkonet_fig2.tsv",
            caption="../report/table_ijkonet_fig2.rst",
            category="iJKOnet",
        ),
        md="results/tables/ijkonet_fig2.md",
    log:
        "results/logs/table_ijkonet_fig2.log",
    params:
        datasets=experiment_columns(
            "ijkonet_fig2", landscape="potential", dimension="dimension", n_train="n_train"
        ),
        metrics=[
            *("w1", "bw2_uvp", "l2_uvp", "l2_uvp_drift"),
            *(["beta"] if learns("ijkonet_fig2", "entropy") else []),
        ],
        methods=experiment_method_settings("ijkonet_fig2"),
        references=REFERENCES,
        layout={
            "index": ["method", "scheme"],
            "columns": ["landscape"],
            "by": ["dimension", "n_train"],
        },
        code=code("table_errors"),


use rule table_potentials as table_embryoid_causes with:
    input:
        metrics=[
            *experiment_metrics("embryoid_causes"),
            *experiment_files("embryoid_causes", "train_metrics.tsv"),
        ],
    output:
        tsv=report(
            "results/tables/embryoid_causes.tsv",
            caption="../report/table_embryoid_causes.rst",
            category="Embryoid body cells",
        ),
        md="results/tables/embryoid_causes.md",
    log:
        "results/logs/table_embryoid_causes.log",
    params:
        datasets=experiment_columns("embryoid_causes", learned_fraction="learned_fraction"),
        metrics=["w1", "w1_train"],
        methods=experiment_method_settings("embryoid_causes"),
        references=["sampling_floor", "mean_shift"],
        layout={
            "index": ["method", "scheme"],
            "columns": ["learned_fraction"],
            "by": [],
        },
        code=code("table_errors"),


use rule table_potentials as table_ijkonet_fig3 with:
    input:
        metrics=experiment_metrics("ijkonet_fig3"),
    output:
        tsv=report(
            "results/tables/ijkonet_fig3.tsv",
            caption="../report/table_ijkonet_fig3.rst",
            category="iJKOnet",
        ),
        md="results/tables/ijkonet_fig3.md",
    log:
        "results/logs/table_ijkonet_fig3.log",
    params:
        datasets=experiment_columns("ijkonet_fig3", landscape="interaction"),
        metrics=["l2_uvp_interaction"],
        methods=experiment_method_settings("ijkonet_fig3"),
        references=["even_oracle", "zero_energy"],
        layout={"index": ["method", "scheme"], "columns": ["landscape"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_ijkonet_fig4 with:
    input:
        metrics=experiment_metrics("ijkonet_fig4"),
    output:
        tsv=report(
            "results/tables/ijkonet_fig4.tsv",
            caption="../report/table_ijkonet_fig4.rst",
            category="iJKOnet",
        ),
        md="results/tables/ijkonet_fig4.md",
    log:
        "results/logs/table_ijkonet_fig4.log",
    params:
        datasets=experiment_columns("ijkonet_fig4", landscape="potential"),
        metrics=["l2_uvp", "l2_uvp_drift"],
        methods=experiment_method_settings("ijkonet_fig4"),
        references=["implicit_oracle", "zero_energy"],
        layout={"index": ["method", "scheme"], "columns": ["landscape"], "by": []},
        code=code("table_errors"),


rule table_ijkonet_table2:
    input:
        metrics=experiment_metrics("ijkonet_table2"),
    output:
        tsv=report(
            "results/tables/ijkonet_table2.tsv",
            caption="../report/table_ijkonet_table2.rst",
            category="iJKOnet",
        ),
        md="results/tables/ijkonet_table2.md",
    log:
        "results/logs/table_ijkonet_table2.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_columns("ijkonet_table2", landscape="potential", pairing="pairing"),
        metrics=["bw2_uvp", "w1", "l2_uvp"],
        methods=experiment_method_settings("ijkonet_table2"),
        references=["implicit_oracle", "zero_energy", "identity"],
        code=code("table_ratios"),
    script:
        "../scripts/table_ratios.py"


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
