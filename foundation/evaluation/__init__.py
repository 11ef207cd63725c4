"""The evaluation contract: splits, metrics, intervals and controls, frozen apart from the models.

Change a number that any of these gives, and `CONTRACT_VERSION` goes up: results of different versions are not compared.
"""

CONTRACT_VERSION = 4
