"""The page at ``/`` if the explorer is switched off: links, and no figures."""

from html import escape

from exporter import __version__
from exporter.web.explorer.links import Links

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Registry storage exporter</title>
<h1>Registry storage exporter</h1>
<p>Version {version}. The explorer is switched off (<code>--no-web.explorer</code>).</p>
<ul>
{links}
</ul>
</html>
"""
_PAGES = {"Metrics": "/metrics", "Healthy": "/-/healthy", "Ready": "/-/ready"}


def landing_page(links: Links) -> str:
    """Return the page."""
    items = (
        f'<li><a href="{escape(links.to(path))}">{name}</a></li>' for name, path in _PAGES.items()
    )
    return _PAGE.format(version=__version__, links="\n".join(items))
