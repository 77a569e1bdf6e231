"""Learn the energy behind unpaired population snapshots, and flow given energies forward.

Modules import downwards only: snapshots, potentials, kernels <- energies <- densities, couplings,
solvers, networks <- training <- methods, flows. Nothing here knows Snakemake, a config file
or a path that it was not handed.
"""
