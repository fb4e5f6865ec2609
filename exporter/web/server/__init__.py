"""The HTTP server: Uvicorn within bounds."""
