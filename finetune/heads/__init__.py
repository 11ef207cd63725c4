"""Heads on a pretrained model: linear probes and full finetuning."""
