"""The experiment behind docs/results/sorting.md: recipes and rivals on simulated sessions and on labelled spikes."""
