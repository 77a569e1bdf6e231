"""The figures: arrays and tables in, a `Figure` out. The only modules that import matplotlib."""
