"""``python -m alerts``: write the files rendered from the rule file, or check them."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alerts.grafana import render_grafana_rules
from alerts.kubernetes import render_prometheus_rule
from alerts.rules import read_rules
from dashboards.rendering import write_or_check

REPOSITORY = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None, repository: Path = REPOSITORY) -> int:
    """Run the command on the files in ``repository``."""
    rules = read_rules()
    texts = {
        repository / "alerts/grafana/registry-storage.yml": render_grafana_rules(rules),
        repository / "deploy/kubernetes/prometheus-rule.yml": render_prometheus_rule(rules),
    }
    return write_or_check("python -m alerts", str(__doc__), texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
