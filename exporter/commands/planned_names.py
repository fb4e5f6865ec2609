"""Refuse a plan that names what no registry has: the names become paths and addresses."""

from exporter.domain.errors import PlanRefusedError
from exporter.domain.plan_file import PlanFile
from exporter.domain.text import printable
from exporter.store.format.layout import is_repository_name, is_tag_name


def refuse_illegal_names(plan: PlanFile) -> None:
    """Raise PlanRefusedError for a repository or a tag whose name no registry allows."""
    for line in plan.lines:
        if not (is_repository_name(line.repository) and all(map(is_tag_name, line.tags))):
            raise PlanRefusedError(
                f"the plan names {printable(str(line))} with the tags "
                f"{printable(', '.join(line.tags))}, which no registry allows; make it again with "
                "`plan`"
            )
