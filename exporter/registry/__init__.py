"""The registry's HTTP API: client, authentication, requests, failures."""
