"""The evaluation contract: splits, metrics, intervals and controls, versioned separately from the models.

If a change moves any score, increase `CONTRACT_VERSION`: results of different versions are not compared.
"""

CONTRACT_VERSION = 4
