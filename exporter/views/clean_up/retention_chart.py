"""What keeping the last tags frees, as a picture. Pure."""

from collections.abc import Sequence

from exporter.analysis.deletion.retention_curve import CurvePoint
from exporter.views.chart.marks import round_numbers
from exporter.views.chart.step_chart import Box, Step, StepChart, step_chart

_BOX = Box(width=640, height=260, left=94, right=628, top=12, bottom=216)
_FEWEST = 5


def retention_chart(points: Sequence[CurvePoint]) -> StepChart | None:
    """Return the chart of the bytes that each number frees; None if there are none.

    It ends where nothing is freed any more, and has gaps where it is unknown.
    """
    freeing = [each.keep_last for each in points if each.frees_bytes]
    if not freeing:
        return None
    last = max(*freeing, _FEWEST)
    shown = [each for each in points if each.keep_last <= last + 1]
    steps = [Step(each.keep_last - 1, each.keep_last, each.frees_bytes) for each in shown]
    numbers = round_numbers(shown[-1].keep_last)
    return step_chart(_BOX, [steps], ((number - 0.5, number) for number in numbers))
