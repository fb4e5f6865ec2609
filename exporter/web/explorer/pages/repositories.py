"""The page ``/repositories``: the table of all repositories."""

from exporter.domain.uses import Use
from exporter.views.repository_table import RepositoryQuery, RepositorySort, repository_table
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Page
from exporter.web.explorer.tables import Columns, Order, is_descending_first, order_parameter, pager


def make(question: Question) -> Page:
    """Return one page of the table."""
    query = read_query(question)
    table = repository_table(question.view, query)
    given = {
        "q": query.search,
        "use": query.use,
        "sort": None if query.sort is RepositorySort.SIZE else query.sort,
        "order": order_parameter(query.sort, descending=query.descending),
    }
    columns = Columns(question.links, "/repositories", given, query.sort, query.descending)
    return Page(
        "repositories.html",
        "Repositories",
        {
            "table": table,
            "repositories": len(question.view.figures),
            "columns": columns,
            "uses": list(Use) if question.view.snapshot.uses is not None else [],
            "pager": pager(question.links, "/repositories", given, query.page, table.pages),
        },
    )


def read_query(question: Question) -> RepositoryQuery:
    """Return what the address asks for. Raises BadParameterError."""
    parameters = question.parameters
    sort = parameters.choice("sort", RepositorySort) or RepositorySort.SIZE
    order = parameters.choice("order", Order)
    return RepositoryQuery(
        search=parameters.text("q"),
        use=parameters.choice("use", Use),
        sort=sort,
        descending=is_descending_first(sort) if order is None else order is Order.DESCENDING,
        page=parameters.number("page", 1),
    )
