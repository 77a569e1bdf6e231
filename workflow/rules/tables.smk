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
        table="embryoid|embryoid_static|ijkonet_table1",
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
        metrics=["w1", "l2_uvp"],
        methods=experiment_method_settings("weak_form"),
        references=REFERENCES,
        layout={"index": ["landscape"], "columns": ["method", "scheme"], "by": []},
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
        metrics=["w1", "bw2_uvp", "l2_uvp"],
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
        metrics=["l2_uvp", "l2_uvp_interaction"],
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
        metrics=["l2_uvp"],
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
        references=["zero_energy", "identity"],
        code=code("table_ratios"),
    script:
        "../scripts/table_ratios.py"


rule table_general_energies:
    input:
        metrics=experiment_metrics("general_energies"),
    output:
        tsv=report(
            "results/tables/general_energies.tsv",
            caption="../report/table_general_energies.rst",
            category="All three energies",
        ),
        md="results/tables/general_energies.md",
    log:
        "results/logs/table_general_energies.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "general_energies", potential="potential", interaction="interaction", beta="beta"
        ),
        methods=experiment_method_settings("general_energies"),
        references=["zero_energy", "even_oracle", "identity", "sampling_floor"],
        excluded=experiment_excluded("general_energies"),
        code=code("table_terms"),
    script:
        "../scripts/table_terms.py"


use rule table_potentials as table_cell_interaction with:
    input:
        metrics=experiment_metrics("cell_interaction"),
    output:
        tsv=report(
            "results/tables/cell_interaction.tsv",
            caption="../report/table_cell_interaction.rst",
            category="All three energies",
        ),
        md="results/tables/cell_interaction.md",
    log:
        "results/logs/table_cell_interaction.log",
    params:
        datasets=experiment_columns("cell_interaction", interaction="interaction", true_beta="beta"),
        metrics=["l2_uvp", "l2_uvp_interaction", "beta", "w1"],
        methods=experiment_method_settings("cell_interaction"),
        references=["oracle", "zero_energy", "identity", "sampling_floor"],
        layout={"index": ["method", "scheme"], "columns": ["interaction", "true_beta"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_beta with:
    input:
        metrics=experiment_metrics("beta"),
    output:
        tsv=report(
            "results/tables/beta.tsv",
            caption="../report/table_beta.rst",
            category="All three energies",
        ),
        md="results/tables/beta.md",
    log:
        "results/logs/table_beta.log",
    params:
        datasets=experiment_columns("beta", landscape="potential", true_beta="beta"),
        metrics=["beta", "l2_uvp"],
        methods=experiment_method_settings("beta"),
        references=["oracle", "zero_energy"],
        layout={
            "index": ["landscape", "true_beta"],
            "columns": ["method", "scheme"],
            "by": [],
        },
        code=code("table_errors"),


use rule table_potentials as table_coverage with:
    input:
        metrics=experiment_metrics("coverage"),
    output:
        tsv=report(
            "results/tables/coverage.tsv",
            caption="../report/table_coverage.rst",
            category="All three energies",
        ),
        md="results/tables/coverage.md",
    log:
        "results/logs/table_coverage.log",
    params:
        datasets=experiment_columns(
            "coverage", landscape="potential", true_beta="beta", particles="n_train"
        ),
        metrics=[
            "beta_free",
            "beta_deviation",
            "beta_coverage",
            "l2_uvp",
            "l2_uvp_expected",
            "gradient_coverage",
        ],
        methods=experiment_method_settings("coverage"),
        references=["zero_energy"],
        layout={
            "index": ["landscape", "true_beta", "particles"],
            "columns": ["method", "scheme"],
            "by": [],
        },
        code=code("table_errors"),


rule table_scaling:
    input:
        metrics=experiment_metrics("scaling"),
        train=experiment_files("scaling", "benchmark.tsv"),
        couple=experiment_couplings("scaling", "coupling-{coupling}.benchmark.tsv"),
    output:
        tsv=report(
            "results/tables/scaling.tsv",
            caption="../report/table_scaling.rst",
            category="Scaling and cost",
        ),
        md="results/tables/scaling.md",
    log:
        "results/logs/table_scaling.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "scaling", potential="potential", dimension="dimension", particles="n_train"
        ),
        methods=experiment_method_settings("scaling"),
        references=["oracle", "zero_energy", "identity", "sampling_floor"],
        code=code("table_scaling"),
    script:
        "../scripts/table_scaling.py"


rule table_coupling_ablation:
    input:
        metrics=experiment_metrics("coupling_ablation"),
        train=experiment_files("coupling_ablation", "benchmark.tsv"),
        couple=experiment_couplings("coupling_ablation", "coupling-{coupling}.benchmark.tsv"),
    output:
        tsv=report(
            "results/tables/coupling_ablation.tsv",
            caption="../report/table_coupling_ablation.rst",
            category="Scaling and cost",
        ),
        md="results/tables/coupling_ablation.md",
    log:
        "results/logs/table_coupling_ablation.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_columns("coupling_ablation", landscape="potential"),
        metrics=["l2_uvp", "w1"],
        methods=experiment_method_settings("coupling_ablation"),
        couplings=coupling_words("coupling_ablation"),
        references=["oracle", "zero_energy", "identity"],
        code=code("table_coupling_ablation"),
    script:
        "../scripts/table_coupling_ablation.py"


rule table_cost_per_epoch:
    input:
        spans=expand(
            "results/benchmarks/epochs/{dataset}-{method}.tsv",
            dataset=experiment_datasets("cost_per_epoch"),
            method=experiment_methods("cost_per_epoch"),
        ),
    output:
        tsv=report(
            "results/tables/cost_per_epoch.tsv",
            caption="../report/table_cost_per_epoch.rst",
            category="Scaling and cost",
        ),
        md="results/tables/cost_per_epoch.md",
    log:
        "results/logs/table_cost_per_epoch.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_datasets("cost_per_epoch"),
        methods=experiment_methods("cost_per_epoch"),
        code=code("table_cost_per_epoch"),
    script:
        "../scripts/table_cost_per_epoch.py"


rule table_lightspeed:
    input:
        metrics=experiment_metrics("lightspeed"),
        spans=expand(
            "results/benchmarks/epochs/benchmark_particles-{method}.tsv",
            method=experiment_methods("lightspeed"),
        ),
    output:
        tsv=report(
            "results/tables/lightspeed.tsv",
            caption="../report/table_lightspeed.rst",
            category="JKOnet",
        ),
        md="results/tables/lightspeed.md",
    log:
        "results/logs/table_lightspeed.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_columns("lightspeed", landscape="potential"),
        metrics=["w1", "l2_uvp"],
        methods=experiment_method_settings("lightspeed"),
        references=REFERENCES,
        code=code("table_lightspeed"),
    script:
        "../scripts/table_lightspeed.py"


rule table_inner_gradients:
    input:
        snapshots="results/benchmark_particles/snapshots.npz",
    output:
        tsv=report(
            "results/tables/inner_gradients.tsv",
            caption="../report/table_inner_gradients.rst",
            category="JKOnet",
        ),
        md="results/tables/inner_gradients.md",
    log:
        "results/logs/table_inner_gradients.log",
    conda:
        "../../envs/jko.yaml"
    # More than there are: Snakemake takes all cores, so that nothing else runs beside it.
    threads: 64
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        method=settings.method_settings(config, "jkonet_implicit", "benchmark_particles"),
        steps=[10, 100, 1000],
        repeats=3,
        code=code("table_inner_gradients"),
    script:
        "../scripts/table_inner_gradients.py"


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
