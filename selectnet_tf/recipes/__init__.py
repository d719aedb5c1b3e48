"""Which run: recipes, their presets, and what goes together. Standard library only."""

from selectnet_tf.recipes.presets import (
    DATASETS as DATASETS,
)
from selectnet_tf.recipes.presets import (
    METHODS as METHODS,
)
from selectnet_tf.recipes.presets import (
    OWN_FIELDS as OWN_FIELDS,
)
from selectnet_tf.recipes.presets import (
    PAPER_METHODS as PAPER_METHODS,
)
from selectnet_tf.recipes.presets import (
    PRESETS as PRESETS,
)
from selectnet_tf.recipes.presets import (
    RELEASED as RELEASED,
)
from selectnet_tf.recipes.presets import (
    REPRODUCING as REPRODUCING,
)
from selectnet_tf.recipes.presets import (
    ROBUST as ROBUST,
)
from selectnet_tf.recipes.presets import (
    SELECTING as SELECTING,
)
from selectnet_tf.recipes.presets import (
    TRAINING as TRAINING,
)
from selectnet_tf.recipes.presets import (
    TRAININGS as TRAININGS,
)
from selectnet_tf.recipes.recipe import (
    PATHS as PATHS,
)
from selectnet_tf.recipes.recipe import (
    Recipe as Recipe,
)
from selectnet_tf.recipes.recipe import (
    default_training as default_training,
)
from selectnet_tf.recipes.recipe import (
    defaults as defaults,
)
from selectnet_tf.recipes.recipe import (
    make as make,
)
from selectnet_tf.recipes.recipe import (
    suggest as suggest,
)
