"""Decoding of behaviour by pretrained models, beside every floor and control, over several seeds."""
