"""Settings of `foundation pretrain`."""
