"""TLS, users and response headers, as ``--web.config.file`` says."""
