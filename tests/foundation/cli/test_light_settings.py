"""Settings name things that they do not import; these tests compare the names with the things."""

import inspect

from finetune.reproduce.eit import eit_settings
from finetune.reproduce.eit.decoding import MODELS
from finetune.reproduce.myow.bins_settings import TASK_NAMES
from finetune.reproduce.myow.myow_runs import TASKS
from finetune.reproduce.paper_tables import EXPERIMENTS
from finetune.reproduce.reproduce_settings import NAMES
from foundation.data.augmentation_settings import NEEDS
from foundation.data.augmentations import AUGMENTATIONS
from foundation.models import EITConfig
from foundation.objectives import OBJECTIVES
from foundation.objectives import objective_settings as settings
from foundation.training import ModelSettings

# Fields of a configuration besides the shape: written when units are added to a model, and after training.
OF_UNITS = {"context_channels", "unit_tables", "unit_names", "population_tables", "preprocessing", "foundation_schema"}


def test_names_in_settings_match_the_registries():
    assert set(AUGMENTATIONS) == set(NEEDS)
    assert set(OBJECTIVES) == set(settings.SETTINGS_OF)
    assert tuple(MODELS) == eit_settings.NAMES
    assert tuple(TASKS) == TASK_NAMES
    assert tuple(EXPERIMENTS) == NAMES


def test_model_settings_match_the_configuration_and_its_defaults():
    config = EITConfig()
    assert ModelSettings().shape() == {name: getattr(config, name) for name in ModelSettings().shape()}
    assert ModelSettings().shape().keys() == inspect.signature(EITConfig).parameters.keys() - OF_UNITS - {"kwargs"}
