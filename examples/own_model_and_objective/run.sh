#!/bin/sh
# Your own model, objective, sampler, task and recipe, from simulated files to decoded labels.
# Run it in this folder, which holds mylab.py; `foundation` finds it here in every process that it starts.
set -e
export FOUNDATION_TRUST=mylab # this lab's own code: its models may be loaded from checkpoints

foundation simulate izhikevich --networks 2 --neurons 20 --seconds 60 --output nwb
foundation ingest --input nwb --recipe mylab:Numbered --store store --workers 0
foundation pretrain --config pretrain.yaml --store store --output run --processes 2
foundation plan --config pretrain.yaml --gpus 2
foundation embed --checkpoint run --store store --output embeddings
foundation finetune --config finetune.yaml --checkpoint run --store store --output heads
foundation predict --head heads/busy --input store --output busy.parquet
