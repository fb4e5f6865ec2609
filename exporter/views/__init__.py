"""Views of a snapshot for people: what pages, the JSON API and commands show of it."""
