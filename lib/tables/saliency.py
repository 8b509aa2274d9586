"""What every table of predicted saliency shares: the rows that train nothing and bound what a network's scores can mean."""

from lib.models.saliency_baselines import Ceiling, ConstantMap, FromBatch
from lib.tables.table import Row

FLOOR = (  # what a network has to beat
    Row(name="uniform", label="Uniform", network=ConstantMap, recipe=None),
    Row(name="centre_bias", label="Centre bias", network=FromBatch, options={"name": "centre"}, recipe=None),
)
CEILING = (  # what none can beat: the density that the twin's fixations were drawn from, and the map of the very fixations
    Row(name="ceiling", label="Ceiling: the true density", network=Ceiling, recipe=None, twin_only=True),
    Row(name="truth", label="Ground truth's own map", network=FromBatch, options={"name": "density"}, recipe=None),
)


def without_points(task) -> tuple[str, ...]:
    """A note on test images that nobody's fixations are known of."""
    without = sum(not len(points) for points in task.full.fixations)
    return (f"{without} test images have no fixation points",) if without else ()
