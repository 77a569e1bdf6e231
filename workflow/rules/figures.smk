# Figures. They read artefacts only, so that a restyled plot trains nothing again.


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
        methods=experiment_method_settings("embryoid"),
        days=EMBRYOID_DAYS,
        code=code("figure_embryoid"),
    script:
        "../scripts/figure_embryoid.py"


rule figure_level_curves:
    input:
        snapshots=figure_snapshots,
        predictions=figure_predictions,
    output:
        pdf="results/figures/{figure}.pdf",
        png=report(
            "results/figures/{figure}.png",
            caption="../report/figure_level_curves.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_{figure}.log",
    wildcard_constraints:
        figure="level_curves|ijkonet_fig1",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        method=figure_method,
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
        panels={"L2-UVP of the learned energy (%)": {"metric": "l2_uvp", "pairing": "paired"}},
        methods=experiment_method_settings("potentials"),
        references={"zero_energy": "V = 0", "implicit_oracle": "exact implicit condition"},
        colour="scheme",
        code=code("figure_errors"),
    script:
        "../scripts/figure_errors.py"


use rule figure_schemes as figure_weak_form with:
    input:
        errors="results/tables/weak_form.tsv",
    output:
        pdf="results/figures/weak_form.pdf",
        png=report(
            "results/figures/weak_form.png",
            caption="../report/figure_weak_form.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_weak_form.log",
    params:
        panels={"L2-UVP of the learned potential (%)": {"metric": "l2_uvp"}},
        methods=experiment_method_settings("weak_form"),
        references={"zero_energy": "V = 0"},
        colour="family",
        code=code("figure_errors"),


rule figure_weak_form_cuts:
    input:
        snapshots=expand(
            "results/{dataset}/snapshots.npz", dataset=experiment_datasets("weak_form")
        ),
        fits=experiment_files("weak_form", "fit.msgpack"),
    output:
        pdf="results/figures/weak_form_cuts.pdf",
        png=report(
            "results/figures/weak_form_cuts.png",
            caption="../report/figure_weak_form_cuts.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_weak_form_cuts.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        methods=experiment_method_settings("weak_form"),
        code=code("figure_cuts", experiment_modules("weak_form")),
    script:
        "../scripts/figure_cuts.py"


use rule figure_schemes as figure_ijkonet_fig3 with:
    input:
        errors="results/tables/ijkonet_fig3.tsv",
    output:
        pdf="results/figures/ijkonet_fig3.pdf",
        png=report(
            "results/figures/ijkonet_fig3.png",
            caption="../report/figure_ijkonet_fig3.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_fig3.log",
    params:
        panels={"L2-UVP of the learned interaction (%)": {"metric": "l2_uvp_interaction"}},
        methods=experiment_method_settings("ijkonet_fig3"),
        references={"zero_energy": "W = 0", "even_oracle": "even part of W"},
        colour="family",
        code=code("figure_errors"),


use rule figure_schemes as figure_ijkonet_fig4 with:
    input:
        errors="results/tables/ijkonet_fig4.tsv",
    output:
        pdf="results/figures/ijkonet_fig4.pdf",
        png=report(
            "results/figures/ijkonet_fig4.png",
            caption="../report/figure_ijkonet_fig4.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_fig4.log",
    params:
        panels={
            "L2-UVP of the learned potential (%)": {"metric": "l2_uvp"},
            "L2-UVP of the drift, V and W together (%)": {"metric": "l2_uvp_drift"},
        },
        methods=experiment_method_settings("ijkonet_fig4"),
        references={"zero_energy": "V = 0"},
        colour="family",
        code=code("figure_errors"),


rule figure_ijkonet_fig2:
    input:
        errors="results/tables/ijkonet_fig2.tsv",
        traces=experiment_files("ijkonet_fig2", "trace.tsv"),
    output:
        pdf="results/figures/ijkonet_fig2.pdf",
        png=report(
            "results/figures/ijkonet_fig2.png",
            caption="../report/figure_ijkonet_fig2.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_fig2.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "ijkonet_fig2", landscape="potential", dimension="dimension", n_train="n_train"
        ),
        methods=experiment_method_settings("ijkonet_fig2"),
        code=code("figure_combinations"),
    script:
        "../scripts/figure_combinations.py"


rule figure_ijkonet_gap:
    input:
        histories=experiment_files("ijkonet_fig2", "history.tsv"),
    output:
        pdf="results/figures/ijkonet_gap.pdf",
        png=report(
            "results/figures/ijkonet_gap.png",
            caption="../report/figure_ijkonet_gap.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_gap.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "ijkonet_fig2", landscape="potential", dimension="dimension", n_train="n_train"
        ),
        methods=experiment_methods("ijkonet_fig2"),
        rows={"dimension": "d = {}", "n_train": "n = {}"},
        scale="linear",
        code=code("figure_gaps"),
    script:
        "../scripts/figure_gaps.py"


use rule figure_ijkonet_gap as figure_ijkonet_gap_pairings with:
    input:
        histories=experiment_files("ijkonet_table2", "history.tsv"),
    output:
        pdf="results/figures/ijkonet_gap_pairings.pdf",
        png=report(
            "results/figures/ijkonet_gap_pairings.png",
            caption="../report/figure_ijkonet_gap.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_gap_pairings.log",
    params:
        datasets=experiment_columns("ijkonet_table2", landscape="potential", pairing="pairing"),
        methods=experiment_methods("ijkonet_table2"),
        rows={"pairing": "{}"},
        scale="symlog",
        code=code("figure_gaps"),


use rule figure_ijkonet_gap as figure_ijkonet_gap_embryoid with:
    input:
        histories=experiment_files("ijkonet_gap_embryoid", "history.tsv"),
    output:
        pdf="results/figures/ijkonet_gap_embryoid.pdf",
        png=report(
            "results/figures/ijkonet_gap_embryoid.png",
            caption="../report/figure_ijkonet_gap.rst",
            category="iJKOnet",
        ),
    log:
        "results/logs/figure_ijkonet_gap_embryoid.log",
    params:
        datasets=experiment_columns(
            "ijkonet_gap_embryoid", landscape="kind", learned_fraction="learned_fraction"
        ),
        methods=experiment_methods("ijkonet_gap_embryoid"),
        rows={"learned_fraction": "{:.0%} of the train cells"},
        scale="linear",
        code=code("figure_gaps"),


rule figure_general_energies:
    input:
        errors="results/tables/general_energies.tsv",
    output:
        pdf="results/figures/general_energies.pdf",
        data="results/figures/general_energies.tsv",
        png=report(
            "results/figures/general_energies.png",
            caption="../report/figure_general_energies.rst",
            category="All three energies",
        ),
    log:
        "results/logs/figure_general_energies.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=experiment_method_settings("general_energies"),
        code=code("figure_terms"),
    script:
        "../scripts/figure_terms.py"


rule figure_scaling:
    input:
        errors="results/tables/scaling.tsv",
    output:
        pdf="results/figures/scaling.pdf",
        png=report(
            "results/figures/scaling.png",
            caption="../report/figure_scaling.rst",
            category="Scaling and cost",
        ),
    log:
        "results/logs/figure_scaling.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=experiment_methods("scaling"),
        code=code("figure_scaling"),
    script:
        "../scripts/figure_scaling.py"


rule figure_coupling_noise:
    input:
        snapshots=expand(
            "results/{dataset}/snapshots.npz",
            dataset=experiment_datasets("coupling_ablation"),
        ),
        couplings=expand(
            "results/{dataset}/coupling-exact.npz",
            dataset=experiment_datasets("coupling_ablation"),
        ),
    output:
        pdf="results/figures/coupling_noise.pdf",
        png=report(
            "results/figures/coupling_noise.png",
            caption="../report/figure_coupling_noise.rst",
            category="Simulated landscapes",
        ),
    log:
        "results/logs/figure_coupling_noise.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        centers=60,
        widths=[0.1, 0.2, 0.4, 0.8, 1.6],
        code=code("figure_coupling_noise"),
    script:
        "../scripts/figure_coupling_noise.py"


rule figure_coupling_ablation:
    input:
        errors="results/tables/coupling_ablation.tsv",
    output:
        pdf="results/figures/coupling_ablation.pdf",
        png=report(
            "results/figures/coupling_ablation.png",
            caption="../report/figure_coupling_ablation.rst",
            category="Scaling and cost",
        ),
    log:
        "results/logs/figure_coupling_ablation.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        couplings=coupling_words("coupling_ablation"),
        code=code("figure_coupling_ablation"),
    script:
        "../scripts/figure_coupling_ablation.py"


rule figure_cost_per_epoch:
    input:
        costs="results/tables/cost_per_epoch.tsv",
    output:
        pdf="results/figures/cost_per_epoch.pdf",
        png=report(
            "results/figures/cost_per_epoch.png",
            caption="../report/figure_cost_per_epoch.rst",
            category="Scaling and cost",
        ),
    log:
        "results/logs/figure_cost_per_epoch.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("figure_cost_per_epoch"),
    script:
        "../scripts/figure_cost_per_epoch.py"


rule figure_lightspeed:
    input:
        table="results/tables/lightspeed.tsv",
    output:
        pdf="results/figures/lightspeed.pdf",
        png=report(
            "results/figures/lightspeed.png",
            caption="../report/figure_lightspeed.rst",
            category="JKOnet",
        ),
    log:
        "results/logs/figure_lightspeed.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=experiment_method_settings("lightspeed"),
        code=code("figure_lightspeed"),
    script:
        "../scripts/figure_lightspeed.py"
